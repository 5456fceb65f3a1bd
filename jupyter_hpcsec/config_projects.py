"""The gateway's settings of projects, as traitlets, and as the value that they become."""

from dataclasses import dataclass

from traitlets import Enum, HasTraits, Integer, Unicode

PROJECT_MODES = ("off", "optional", "required")


@dataclass(frozen=True)
class ProjectSettings:
    """Whether sessions need a project, and what a site says about all of them."""

    mode: str = "optional"
    contact: str = ""
    longest_days: int = 366
    warning_days: int = 30


class ProjectTraits(HasTraits):
    """Part of ``config.HpcsecGateway``."""

    projects = Enum(
        PROJECT_MODES,
        "optional",
        help="Whether each session belongs to a project with an approved purpose and a review date. 'required': no "
        "session starts without one. 'optional': who is in none that was approved may start without; one that is "
        "named must be approved, open and the user's. 'off': there is no registry; {project} in the policy is the "
        "batch account of the user's profile.",
    ).tag(config=True)

    project_office = Unicode(
        "", help="Whom people write to about projects: an address or a name, shown to users who have none."
    ).tag(config=True)

    project_longest_days = Integer(
        366, min=1, max=3660, help="The longest time in days between two reviews of a project."
    ).tag(config=True)

    project_warning_days = Integer(
        30, min=0, max=366, help="Days before its review date from which a project's members are warned."
    ).tag(config=True)

    def project_settings(self) -> ProjectSettings:
        """The settings as a value."""
        return ProjectSettings(
            mode=self.projects,
            contact=self.project_office,
            longest_days=self.project_longest_days,
            warning_days=self.project_warning_days,
        )
