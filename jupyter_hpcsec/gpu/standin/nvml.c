/* A stand-in for libnvidia-ml.so.1: GPUs that do not exist, for tests and for `hpcsec quickstart --fake-gpus`.

   It reads a state file, named by the variable HPCSEC_STANDIN_STATE, whenever that has changed. One fact a line:

     driver VERSION
     gpu    INDEX UUID BUSID NAME TOTAL USED RESERVED UTIL MEMUTIL MILLIWATT CELSIUS MINOR     bytes, percent
     mig    GPU UUID GI CI TOTAL USED                     an instance; its GPU is in MIG mode
     proc   GPU KIND PID BYTES SM MICROSECONDS GI         KIND: c compute, g graphics, m MPS; BYTES "-": not told; GI "-"
     acct   GPU PID MAXBYTES MILLISECONDS RUNNING UTIL
     ecc    GPU CORRECTED UNCORRECTED
     xid    GPU CODE SERIAL                               told once for each new SERIAL
     mode   GPU PERSISTENCE COMPUTE
     error  FUNCTION GPU CODE                             what nvmlFUNCTION returns; GPU "-": for all
     hang   FUNCTION SECONDS
     claims DIRECTORY                                     each file GPU.PID.SM in it is a process; its size is its memory
                                                          in MiB: how a notebook pretends to hold one
   Signatures and error codes: nvml.h of the CUDA Toolkit, versions as nvidia-ml-py asks for them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define E __attribute__((visibility("default")))
typedef unsigned int u32;
typedef unsigned long long u64;
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10 };
#define NONE 0xFFFFFFFFu
#define UNTOLD 0xFFFFFFFFFFFFFFFFull

struct device { char uuid[96], bus[32], name[96]; u64 total, used, reserved; u32 util, memutil, mw, celsius, minor;
                int index, parent; u32 gi, ci; u64 corrected, uncorrected; u32 persistence, compute, mig, present; };
struct process { int gpu; char kind; u32 pid; u64 bytes; u32 sm; u64 at; u32 gi; };
struct account { int gpu; u32 pid; u64 most, ms; u32 running, util; };
struct fault { char function[96]; int gpu, code; u32 hang; };
struct xid { int gpu; u64 code; u64 serial; };

static struct device G[16], M[112];
static struct process P[65536];
static struct account A[4096];
static struct fault F[64];
static struct xid X[64];
static int gpus, migs, processes, accounts, faults, xids;
static char driver[80] = "580.00.simulated", claims[512];
static u64 told;
static struct timespec changed;
static ino_t inode;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

E const char hpcsec_stand_in[] = "these GPUs do not exist";

static u64 number(const char *text) { return strcmp(text, "-") ? strtoull(text, 0, 10) : UNTOLD; }

static void read_line(const char *line) {
  struct device d = {0}; struct process p = {0}; struct account a; struct fault f = {0}; struct xid x;
  char first[96], second[96]; int gpu; u64 n, m; u32 u, v;
  if (sscanf(line, "gpu %d %95s %31s %95s %llu %llu %llu %u %u %u %u %u", &d.index, d.uuid, d.bus, d.name, &d.total, &d.used,
             &d.reserved, &d.util, &d.memutil, &d.mw, &d.celsius, &d.minor) == 12 && d.index >= 0 && d.index < 16) {
    d.parent = -1; d.gi = d.ci = NONE; d.persistence = 1; d.present = 1;
    G[d.index] = d;
    if (d.index >= gpus) gpus = d.index + 1;
  } else if (sscanf(line, "mig %d %95s %u %u %llu %llu", &d.parent, d.uuid, &d.gi, &d.ci, &d.total, &d.used) == 6 &&
             d.parent >= 0 && d.parent < gpus && migs < 112) {
    d.index = migs; d.present = 1; d.util = NONE; strcpy(d.name, "MIG");
    G[d.parent].mig = 1; M[migs++] = d;
  } else if (sscanf(line, "proc %d %c %u %95s %u %llu %95s", &p.gpu, &p.kind, &p.pid, first, &p.sm, &p.at, second) == 7 &&
             processes < 65536) {
    p.bytes = number(first); p.gi = (u32)number(second); P[processes++] = p;
  } else if (sscanf(line, "acct %d %u %llu %llu %u %u", &a.gpu, &a.pid, &a.most, &a.ms, &a.running, &a.util) == 6 &&
             accounts < 4096) A[accounts++] = a;
  else if (sscanf(line, "error %95s %95s %d", f.function, first, &f.code) == 3 && faults < 64) {
    f.gpu = strcmp(first, "-") ? atoi(first) : -1; F[faults++] = f;
  } else if (sscanf(line, "hang %95s %u", f.function, &f.hang) == 2 && faults < 64) { f.gpu = -1; F[faults++] = f; }
  else if (sscanf(line, "xid %d %llu %llu", &x.gpu, &x.code, &x.serial) == 3 && xids < 64) X[xids++] = x;
  else if (sscanf(line, "ecc %d %llu %llu", &gpu, &n, &m) == 3 && gpu >= 0 && gpu < gpus) { G[gpu].corrected = n; G[gpu].uncorrected = m; }
  else if (sscanf(line, "mode %d %u %u", &gpu, &u, &v) == 3 && gpu >= 0 && gpu < gpus) { G[gpu].persistence = u; G[gpu].compute = v; }
  else if (sscanf(line, "driver %79s", first) == 1) { snprintf(driver, sizeof driver, "%.79s", first); }
  else if (sscanf(line, "claims %511s", claims) == 1) { }
}

static void read_claims(void) {
  DIR *directory = *claims ? opendir(claims) : 0;
  struct dirent *entry; char path[800]; struct stat found;
  for (int i = 0; i < processes;) { if (P[i].kind == 'x') P[i] = P[--processes]; else i++; }
  for (int i = 0; i < gpus && *claims; i++) { G[i].used = 0; G[i].util = 0; }
  while (directory && (entry = readdir(directory)) && processes < 65536) {
    struct process p = {.kind = 'x', .gi = NONE, .at = (u64)time(0) * 1000000}; char end;
    if (sscanf(entry->d_name, "%d.%u.%u%c", &p.gpu, &p.pid, &p.sm, &end) != 3 || p.gpu < 0 || p.gpu >= gpus) continue;
    snprintf(path, sizeof path, "/proc/%u", p.pid);
    if (access(path, F_OK)) continue;
    snprintf(path, sizeof path, "%s/%s", claims, entry->d_name);
    if (stat(path, &found)) continue;
    p.bytes = (u64)found.st_size << 20;
    G[p.gpu].used += p.bytes;
    G[p.gpu].util = G[p.gpu].util + p.sm > 100 ? 100 : G[p.gpu].util + p.sm;
    P[processes++] = p;
  }
  if (directory) closedir(directory);
}

static void load(void) {
  const char *path = getenv("HPCSEC_STANDIN_STATE"); struct stat found; char line[1024];
  if (!path || stat(path, &found)) return;
  pthread_mutex_lock(&lock);
  if (found.st_mtim.tv_sec != changed.tv_sec || found.st_mtim.tv_nsec != changed.tv_nsec || found.st_ino != inode) {
    FILE *file = fopen(path, "r");
    if (file) {
      changed = found.st_mtim; inode = found.st_ino;
      gpus = migs = processes = accounts = faults = xids = 0; *claims = 0;
      memset(G, 0, sizeof G); memset(M, 0, sizeof M);
      while (fgets(line, sizeof line, file)) read_line(line);
      fclose(file);
    }
  }
  if (*claims) read_claims();
  pthread_mutex_unlock(&lock);
}

/* What the state file wants of this function: an error, a wait, or nothing. */
static int fault(const char *function, int gpu) {
  load();
  for (int i = 0; i < faults; i++)
    if (!strcmp(F[i].function, "*") || !strcmp(F[i].function, function + 4)) {
      if (F[i].hang) sleep(F[i].hang);
      else if (F[i].gpu < 0 || F[i].gpu == gpu) return F[i].code;
    }
  return OK;
}

static struct device *device(void *handle) {
  struct device *d = handle;
  if (d >= G && d < G + gpus && d->present) return d;
  if (d >= M && d < M + migs) return d;
  return 0;
}
static int gpu_of(struct device *d) { return d->parent >= 0 ? d->parent : d->index; }

#define ANY int why = fault(__func__, -1); if (why) return why
#define ON(h) load(); struct device *d = device(h); if (!d) return INVALID; \
  int why = fault(__func__, gpu_of(d)); if (why) return why; (void)d
#define WHOLE if (d->parent >= 0) return NOT_SUPPORTED
static int text(char *out, u32 size, const char *from) { if (strlen(from) + 1 > size) return TOO_SMALL; strcpy(out, from); return OK; }

E int nvmlInitWithFlags(u32 flags) { (void)flags; ANY; return OK; }
E int nvmlInit_v2(void) { ANY; return OK; }
E int nvmlShutdown(void) { return OK; }
E const char *nvmlErrorString(int code) { (void)code; return "simulated"; }
E int nvmlSystemGetDriverVersion(char *o, u32 n) { ANY; return text(o, n, driver); }
E int nvmlSystemGetNVMLVersion(char *o, u32 n) { ANY; return text(o, n, "13.580.00"); }
E int nvmlSystemGetCudaDriverVersion(int *v) { *v = 13000; return OK; }
E int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13000; return OK; }
E int nvmlSystemGetProcessName(u32 pid, char *o, u32 n) { (void)pid; ANY; return text(o, n, "simulated"); }
E int nvmlDeviceGetCount_v2(u32 *n) { ANY; *n = gpus; return OK; }
E int nvmlDeviceGetHandleByIndex_v2(u32 i, void **h) { int why = fault(__func__, (int)i); if (why) return why;
  if ((int)i >= gpus || !G[i].present) return INVALID; *h = &G[i]; return OK; }
E int nvmlDeviceGetHandleByUUID(const char *uuid, void **h) { ANY;
  for (int i = 0; i < gpus; i++) if (!strcmp(uuid, G[i].uuid)) { *h = &G[i]; return OK; }
  for (int i = 0; i < migs; i++) if (!strcmp(uuid, M[i].uuid)) { *h = &M[i]; return OK; }
  return NOT_FOUND; }
E int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **h) { ANY;
  for (int i = 0; i < gpus; i++) if (!strcmp(bus, G[i].bus)) { *h = &G[i]; return OK; } return NOT_FOUND; }
E int nvmlDeviceGetIndex(void *h, u32 *o) { ON(h); *o = d->index; return OK; }
E int nvmlDeviceGetMinorNumber(void *h, u32 *o) { ON(h); WHOLE; *o = d->minor; return OK; }
E int nvmlDeviceGetName(void *h, char *o, u32 n) { ON(h); return text(o, n, d->name); }
E int nvmlDeviceGetUUID(void *h, char *o, u32 n) { ON(h); return text(o, n, d->uuid); }
struct pci { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; };
E int nvmlDeviceGetPciInfo_v3(void *h, struct pci *p) { ON(h); memset(p, 0, sizeof *p);
  const struct device *g = &G[gpu_of(d)]; snprintf(p->bus_id, sizeof p->bus_id, "%s", g->bus);
  snprintf(p->legacy, sizeof p->legacy, "%.15s", strlen(g->bus) > 4 ? g->bus + 4 : g->bus);
  sscanf(g->bus, "%x:%x:%x", &p->domain, &p->bus, &p->device); return OK; }
struct memory { u64 total, free, used; };
struct memory_v2 { u32 version; u64 total, reserved, free, used; };
E int nvmlDeviceGetMemoryInfo(void *h, struct memory *m) { ON(h); m->total = d->total; m->used = d->used + d->reserved;
  m->free = m->used > m->total ? 0 : m->total - m->used; return OK; }
E int nvmlDeviceGetMemoryInfo_v2(void *h, struct memory_v2 *m) { ON(h); m->total = d->total; m->used = d->used; m->reserved = d->reserved;
  m->free = m->used + m->reserved > m->total ? 0 : m->total - m->used - m->reserved; return OK; }
E int nvmlDeviceGetBAR1MemoryInfo(void *h, struct memory *m) { ON(h); *m = (struct memory){256 << 20, 255 << 20, 1 << 20}; return OK; }
E int nvmlDeviceGetUtilizationRates(void *h, u32 *o) { ON(h); WHOLE; if (d->mig) return NOT_SUPPORTED;
  o[0] = d->util; o[1] = d->memutil; return OK; }
E int nvmlDeviceGetPowerUsage(void *h, u32 *o) { ON(h); WHOLE; *o = d->mw; return OK; }
E int nvmlDeviceGetPowerManagementLimit(void *h, u32 *o) { ON(h); WHOLE; *o = 700000; return OK; }
E int nvmlDeviceGetEnforcedPowerLimit(void *h, u32 *o) { ON(h); WHOLE; *o = 700000; return OK; }
E int nvmlDeviceGetTemperature(void *h, int sensor, u32 *o) { (void)sensor; ON(h); WHOLE; *o = d->celsius; return OK; }
struct temperature { u32 version; int sensor, celsius; };
E int nvmlDeviceGetTemperatureV(void *h, struct temperature *t) { ON(h); WHOLE; t->celsius = (int)d->celsius; return OK; }
E int nvmlDeviceGetClockInfo(void *h, int type, u32 *o) { (void)type; ON(h); *o = d->util && d->util != NONE ? 1980 : 345; return OK; }
E int nvmlDeviceGetMaxClockInfo(void *h, int type, u32 *o) { (void)type; ON(h); *o = 1980; return OK; }
E int nvmlDeviceGetPerformanceState(void *h, int *o) { ON(h); *o = d->util ? 0 : 8; return OK; }
E int nvmlDeviceGetPersistenceMode(void *h, int *o) { ON(h); WHOLE; *o = (int)d->persistence; return OK; }
E int nvmlDeviceGetComputeMode(void *h, int *o) { ON(h); WHOLE; *o = (int)d->compute; return OK; }
E int nvmlDeviceGetPcieThroughput(void *h, int c, u32 *o) { (void)c; ON(h); *o = 100; return OK; }
E int nvmlDeviceGetAccountingMode(void *h, int *o) { ON(h); *o = 1; return OK; }
E int nvmlDeviceGetFanSpeed(void *h, u32 *o) { (void)o; ON(h); return NOT_SUPPORTED; }
E int nvmlDeviceGetDriverModel(void *h, int *a, int *b) { (void)a; (void)b; ON(h); return NOT_SUPPORTED; }
E int nvmlDeviceGetDisplayActive(void *h, int *o) { ON(h); *o = 0; return OK; }
E int nvmlDeviceGetDisplayMode(void *h, int *o) { ON(h); *o = 0; return OK; }
E int nvmlDeviceGetEncoderUtilization(void *h, u32 *a, u32 *b) { ON(h); *a = 0; *b = 167000; return OK; }
E int nvmlDeviceGetDecoderUtilization(void *h, u32 *a, u32 *b) { ON(h); *a = 0; *b = 167000; return OK; }
E int nvmlDeviceGetEccMode(void *h, int *a, int *b) { ON(h); WHOLE; *a = *b = 1; return OK; }
E int nvmlDeviceGetTotalEccErrors(void *h, int kind, int counter, u64 *o) { (void)counter; ON(h); WHOLE;
  *o = kind ? d->uncorrected : d->corrected; return OK; }

E int nvmlDeviceGetMigMode(void *h, u32 *now, u32 *pending) { ON(h); *now = *pending = d->mig; return OK; }
E int nvmlDeviceIsMigDeviceHandle(void *h, u32 *o) { ON(h); *o = d->parent >= 0; return OK; }
E int nvmlDeviceGetMaxMigDeviceCount(void *h, u32 *o) { ON(h); *o = d->mig ? 7 : 0; return OK; }
E int nvmlDeviceGetMigDeviceHandleByIndex(void *h, u32 n, void **o) { ON(h);
  for (int i = 0; i < migs; i++) if (M[i].parent == d->index && n-- == 0) { *o = &M[i]; return OK; } return NOT_FOUND; }
E int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *h, void **o) { ON(h); *o = &G[gpu_of(d)]; return OK; }
E int nvmlDeviceGetGpuInstanceId(void *h, u32 *o) { ON(h); if (d->parent < 0) return NOT_SUPPORTED; *o = d->gi; return OK; }
E int nvmlDeviceGetComputeInstanceId(void *h, u32 *o) { ON(h); if (d->parent < 0) return NOT_SUPPORTED; *o = d->ci; return OK; }

struct info { u32 pid; u64 bytes; u32 gi, ci; };
static int list(struct device *d, char kind, u32 *n, struct info *o) {
  u32 count = 0; int gpu = gpu_of(d);
  for (int k = 0; k < processes; k++) {
    char is = P[k].kind == 'x' ? 'c' : P[k].kind;
    if (P[k].gpu != gpu || is != kind || (d->parent >= 0 && P[k].gi != d->gi)) continue;
    if (o && count < *n) o[count] = (struct info){P[k].pid, P[k].bytes, P[k].gi, P[k].gi == NONE ? NONE : 0};
    count++;
  }
  int enough = !count || (o && count <= *n);
  *n = count;
  return enough ? OK : TOO_SMALL;
}
E int nvmlDeviceGetComputeRunningProcesses_v3(void *h, u32 *n, struct info *o) { ON(h); return list(d, 'c', n, o); }
E int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, u32 *n, struct info *o) { ON(h); return list(d, 'g', n, o); }
#ifndef WITHOUT_MPS /* as drivers before 510 are */
E int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *h, u32 *n, struct info *o) { ON(h); return list(d, 'm', n, o); }
#endif
struct use { u32 pid; u64 at; u32 sm, memory, encoder, decoder; };
E int nvmlDeviceGetProcessUtilization(void *h, struct use *o, u32 *n, u64 since) { ON(h); WHOLE; if (d->mig) return NOT_SUPPORTED;
  u32 count = 0;
  for (int k = 0; k < processes; k++) {
    if (P[k].gpu != d->index || !P[k].sm || P[k].at <= since) continue;
    if (o && count < *n) o[count] = (struct use){P[k].pid, P[k].at, P[k].sm, P[k].sm / 2, 0, 0};
    count++;
  }
  int enough = o && count <= *n;
  *n = count;
  return !count ? NOT_FOUND : enough ? OK : TOO_SMALL; }

struct stats { u32 util, memutil; u64 most, ms, start; u32 running, reserved[5]; };
E int nvmlDeviceGetAccountingBufferSize(void *h, u32 *o) { ON(h); *o = 4000; return OK; }
E int nvmlDeviceGetAccountingPids(void *h, u32 *n, u32 *pids) { ON(h); u32 count = 0;
  for (int k = 0; k < accounts; k++) if (A[k].gpu == d->index) { if (pids && count < *n) pids[count] = A[k].pid; count++; }
  int enough = !count || (pids && count <= *n); *n = count; return enough ? OK : TOO_SMALL; }
E int nvmlDeviceGetAccountingStats(void *h, u32 pid, struct stats *s) { ON(h);
  for (int k = 0; k < accounts; k++) if (A[k].gpu == d->index && A[k].pid == pid) { memset(s, 0, sizeof *s);
    s->util = A[k].util; s->most = A[k].most; s->ms = A[k].ms; s->running = A[k].running; return OK; } return NOT_FOUND; }

struct event { void *device; u64 type, data; u32 gi, ci; };
E int nvmlEventSetCreate(void **set) { ANY; *set = &told; return OK; }
E int nvmlEventSetFree(void *set) { (void)set; return OK; }
E int nvmlDeviceGetSupportedEventTypes(void *h, u64 *o) { ON(h); *o = 8; return OK; }
E int nvmlDeviceRegisterEvents(void *h, u64 types, void *set) { (void)types; (void)set; ON(h); return OK; }
E int nvmlEventSetWait_v2(void *set, struct event *e, u32 ms) { (void)set; (void)ms; ANY;
  for (int k = 0; k < xids; k++) if (X[k].serial > told && X[k].gpu >= 0 && X[k].gpu < gpus) { told = X[k].serial;
    *e = (struct event){&G[X[k].gpu], 8, X[k].code, NONE, NONE}; return OK; }
  return TIMEOUT; }
