"""What a session's processes may touch, held by the kernel: Landlock, seccomp, and the sandbox that applies them."""
