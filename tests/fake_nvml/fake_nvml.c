/* A libnvidia-ml.so.1 without a GPU: every answer comes from a state file that a test rewrites while it runs.
 *
 * $FAKE_NVML_STATE names the file. A line is `key = value`; `#` starts a comment; the last line with a key wins. It is
 * read again whenever it was replaced. `gpu*` in a key stands for every GPU, and `gpuN` wins over it.
 * $FAKE_NVML_CALLS, where set, names a file to which every call is appended: its function, and the GPU after a space.
 *
 *   count = 2                        GPUs that the driver counts
 *   driver = 580.105.08              version
 *   gpu0.uuid, gpu0.name             texts; \xHH stands for a byte
 *   gpu0.architecture = 9, gpu0.capability = 9 0, gpu0.pci = 233510de 18be10de
 *   gpu0.power = 350000              milliwatts: GetPowerUsage, fields 185 and 186
 *   gpu0.limit = 700000              milliwatts: GetEnforcedPowerLimit, field 190
 *   gpu0.energy = 1000               millijoules, a counter that stands still; without it the counter moves:
 *   gpu0.energy.base = 0, gpu0.energy.since = 1795000000.0, gpu0.energy.step = 0.1
 *                                    base + power x time since then, moving once a step (seconds)
 *   gpu0.memory = TOTAL USED, gpu0.utilization = 87, gpu0.clock = 1980, gpu0.temperature = 61
 *   gpu0.field.185.1 = 900000        value of a field and scope, as an unsigned 32 bit number
 *   gpu0.field.83.0 = u64 5          the same as an unsigned 64 bit one; also f64 (a double) and kind9 (no known type)
 *   gpu0.process.0 = PID BYTES       a process; BYTES may be `unknown`
 *   gpu0.mig.0 = MIG-uuid            an instance, which switches MIG on; gpu0.mig.0.process.0 = PID BYTES
 *
 * Instead of a value, anywhere: `!3` is the NVML code to return. `gpu0 = !15` is the code of every call on that GPU,
 * `call.NAME = !4` and `call.NAME.gpu0 = !4` of one function, `call.NAME = ~2.5` lets it hang for so many seconds.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { MAX_GPUS = 16, MAX_MIGS = 8, MAX_LINES = 512, MAX_TEXT = 256 };

typedef struct {
    int gpu;
    int mig; /* -1: the whole GPU */
} handle_t;

typedef struct {
    char key[96];
    char value[MAX_TEXT];
} line_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static line_t lines[MAX_LINES];
static int line_count;
static struct timespec read_at;
static ino_t read_inode;
static int initialised;
static double loaded_at;
static handle_t handles[MAX_GPUS][MAX_MIGS + 1];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((constructor)) static void load(void) {
    loaded_at = now();
    for (int gpu = 0; gpu < MAX_GPUS; gpu++)
        for (int mig = -1; mig < MAX_MIGS; mig++) handles[gpu][mig + 1] = (handle_t){gpu, mig};
}

/* ---- the state file ---- */

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t') text++;
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1])) text[--length] = 0;
    return text;
}

static void unescape(char *text) {
    char *out = text;
    for (; *text; text++, out++) {
        unsigned byte;
        if (text[0] == '\\' && text[1] == 'x' && sscanf(text + 2, "%2x", &byte) == 1) {
            *out = (char)byte;
            text += 3;
        } else {
            *out = *text;
        }
    }
    *out = 0;
}

static void refresh(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat status;
    if (!path || stat(path, &status)) {
        line_count = 0;
        return;
    }
    if (status.st_ino == read_inode && !memcmp(&status.st_mtim, &read_at, sizeof read_at)) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    char text[512];
    line_count = 0;
    while (line_count < MAX_LINES && fgets(text, sizeof text, file)) {
        char *equals = strchr(text, '=');
        if (text[0] == '#' || !equals) continue;
        *equals = 0;
        line_t *line = &lines[line_count++];
        snprintf(line->key, sizeof line->key, "%s", trim(text));
        snprintf(line->value, sizeof line->value, "%s", trim(equals + 1));
        unescape(line->value);
    }
    fclose(file);
    read_inode = status.st_ino;
    read_at = status.st_mtim;
}

static int find(const char *key, char *value) {
    int found = 0;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < line_count; i++) {
        if (strcmp(lines[i].key, key)) continue;
        memcpy(value, lines[i].value, MAX_TEXT);
        found = 1;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* Looks for `gpuN<suffix>`, then for `gpu*<suffix>`. */
static int find_of(int gpu, char *value, const char *format, ...) {
    char suffix[80], key[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(suffix, sizeof suffix, format, arguments);
    va_end(arguments);
    snprintf(key, sizeof key, "gpu%d%s", gpu, suffix);
    if (find(key, value)) return 1;
    snprintf(key, sizeof key, "gpu*%s", suffix);
    return find(key, value);
}

static double number_of(int gpu, const char *suffix, double otherwise) {
    char value[MAX_TEXT];
    return find_of(gpu, value, "%s", suffix) ? atof(value) : otherwise;
}

/* ---- what every call does first ---- */

static void note(const char *function, int gpu) {
    const char *path = getenv("FAKE_NVML_CALLS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    if (gpu < 0) fprintf(file, "%s\n", function);
    else fprintf(file, "%s %d\n", function, gpu);
    fclose(file);
}

static int obey(const char *value) {
    if (value[0] == '!') return atoi(value + 1);
    if (value[0] == '~') {
        double seconds = atof(value + 1);
        struct timespec wait = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
        nanosleep(&wait, NULL);
    }
    return SUCCESS;
}

static int enter(const char *function, int gpu) {
    char key[96], value[MAX_TEXT];
    int code = SUCCESS;
    note(function, gpu);
    snprintf(key, sizeof key, "call.%s", function);
    if (find(key, value)) code = obey(value);
    if (!code && gpu >= 0) {
        snprintf(key, sizeof key, "call.%s.gpu%d", function, gpu);
        if (find(key, value)) code = obey(value);
    }
    if (!code && gpu >= 0 && find_of(gpu, value, "%s", "")) code = obey(value);
    return code;
}

#define ENTER_SYSTEM()                                  \
    do {                                                \
        int code_ = enter(__func__, -1);                \
        if (code_) return code_;                        \
        if (!initialised) return UNINITIALIZED;         \
    } while (0)

#define ENTER_DEVICE(device)                            \
    do {                                                \
        if (!initialised) return UNINITIALIZED;         \
        if (!(device)) return INVALID_ARGUMENT;         \
        int code_ = enter(__func__, (device)->gpu);     \
        if (code_) return code_;                        \
    } while (0)

/* ---- system ---- */

EXPORT int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter(__func__, -1);
    if (!code) initialised++;
    return code;
}

EXPORT int nvmlShutdown(void) {
    ENTER_SYSTEM();
    initialised--;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the stand-in library";
}

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    char value[MAX_TEXT] = "580.105.08";
    ENTER_SYSTEM();
    find("driver", value);
    snprintf(version, length, "%s", value);
    return SUCCESS;
}

static unsigned gpu_count(void) {
    char value[MAX_TEXT];
    return find("count", value) ? (unsigned)atoi(value) : 2;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER_SYSTEM();
    *count = gpu_count();
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle_t **device) {
    if (!initialised) return UNINITIALIZED;
    if (index >= gpu_count() || index >= MAX_GPUS) return INVALID_ARGUMENT;
    int code = enter(__func__, (int)index);
    *device = &handles[index][0];
    return code;
}

/* ---- one device ---- */

static void uuid_of(const handle_t *device, char *uuid, size_t length) {
    char value[MAX_TEXT];
    if (device->mig >= 0) {
        if (!find_of(device->gpu, value, ".mig.%d", device->mig)) value[0] = 0;
        snprintf(uuid, length, "%s", value);
    } else if (find_of(device->gpu, value, ".uuid")) {
        snprintf(uuid, length, "%s", value);
    } else {
        snprintf(uuid, length, "GPU-%08d-0000-4000-8000-000000000000", device->gpu);
    }
}

EXPORT int nvmlDeviceGetUUID(handle_t *device, char *uuid, unsigned length) {
    ENTER_DEVICE(device);
    uuid_of(device, uuid, length);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *wanted, handle_t **device) {
    ENTER_SYSTEM();
    for (unsigned gpu = 0; gpu < gpu_count(); gpu++) {
        char uuid[MAX_TEXT];
        uuid_of(&handles[gpu][0], uuid, sizeof uuid);
        if (strcmp(uuid, wanted)) continue;
        *device = &handles[gpu][0];
        return enter(__func__, (int)gpu);
    }
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetName(handle_t *device, char *name, unsigned length) {
    char value[MAX_TEXT] = "NVIDIA H200";
    ENTER_DEVICE(device);
    find_of(device->gpu, value, ".name");
    snprintf(name, length, "%s", value);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetArchitecture(handle_t *device, unsigned *architecture) {
    ENTER_DEVICE(device);
    *architecture = (unsigned)number_of(device->gpu, ".architecture", 9);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(handle_t *device, int *major, int *minor) {
    char value[MAX_TEXT];
    ENTER_DEVICE(device);
    *major = 9;
    *minor = 0;
    if (find_of(device->gpu, value, ".capability")) sscanf(value, "%d %d", major, minor);
    return SUCCESS;
}

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_t;

EXPORT int nvmlDeviceGetPciInfo_v3(handle_t *device, pci_t *pci) {
    char value[MAX_TEXT] = "233510de 18be10de";
    ENTER_DEVICE(device);
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned)device->gpu + 1;
    find_of(device->gpu, value, ".pci");
    sscanf(value, "%x %x", &pci->device_id, &pci->subsystem_id);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo(handle_t *device, unsigned long long *memory) {
    char value[MAX_TEXT] = "150754820096 1073741824";
    ENTER_DEVICE(device);
    find_of(device->gpu, value, ".memory");
    sscanf(value, "%llu %llu", &memory[0], &memory[2]);
    memory[1] = memory[0] - memory[2];
    return SUCCESS;
}

EXPORT int nvmlDeviceGetUtilizationRates(handle_t *device, unsigned *rates) {
    ENTER_DEVICE(device);
    rates[0] = (unsigned)number_of(device->gpu, ".utilization", 50);
    rates[1] = 10;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetClockInfo(handle_t *device, int which, unsigned *clock_mhz) {
    ENTER_DEVICE(device);
    *clock_mhz = which == 1 ? (unsigned)number_of(device->gpu, ".clock", 1980) : 1;
    return SUCCESS;
}

typedef struct {
    unsigned version, sensor;
    int temperature;
} temperature_t;

EXPORT int nvmlDeviceGetTemperatureV(handle_t *device, temperature_t *temperature) {
    ENTER_DEVICE(device);
    temperature->temperature = (int)number_of(device->gpu, ".temperature", 61);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTemperature(handle_t *device, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    ENTER_DEVICE(device);
    *celsius = (unsigned)number_of(device->gpu, ".temperature", 61);
    return SUCCESS;
}

/* ---- power and energy ---- */

static unsigned long long energy_of(int gpu) {
    char value[MAX_TEXT];
    if (find_of(gpu, value, ".energy")) return strtoull(value, NULL, 10);
    double step = number_of(gpu, ".energy.step", 0.1), since = number_of(gpu, ".energy.since", loaded_at);
    double steps = (double)(long long)((now() - since) / step);
    return (unsigned long long)(number_of(gpu, ".energy.base", 0) + number_of(gpu, ".power", 100000) * steps * step);
}

EXPORT int nvmlDeviceGetPowerUsage(handle_t *device, unsigned *milliwatts) {
    ENTER_DEVICE(device);
    *milliwatts = (unsigned)number_of(device->gpu, ".power", 100000);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(handle_t *device, unsigned *milliwatts) {
    ENTER_DEVICE(device);
    *milliwatts = (unsigned)number_of(device->gpu, ".limit", 700000);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(handle_t *device, unsigned long long *millijoules) {
    ENTER_DEVICE(device);
    *millijoules = energy_of(device->gpu);
    return SUCCESS;
}

typedef union {
    double f64;
    unsigned u32;
    unsigned long long u64;
} field_number_t;

typedef struct {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    int kind, code; /* kind: 0 double, 1 unsigned, 3 unsigned long long */
    field_number_t value;
} field_t;

static void answer_field(int gpu, field_t *field) {
    char value[MAX_TEXT];
    field->code = SUCCESS;
    field->kind = 1;
    field->value.u64 = 0;
    field->timestamp_us = (long long)(now() * 1e6);
    if (find_of(gpu, value, ".field.%u.%u", field->field, field->scope)) {
        if (value[0] == '!') {
            field->code = atoi(value + 1);
        } else if (!strncmp(value, "u64 ", 4)) {
            field->kind = 3;
            field->value.u64 = strtoull(value + 4, NULL, 10);
        } else if (!strncmp(value, "f64 ", 4)) {
            field->kind = 0;
            field->value.f64 = atof(value + 4);
        } else if (!strcmp(value, "kind9")) {
            field->kind = 9;
        } else {
            field->value.u32 = (unsigned)strtoul(value, NULL, 10);
        }
    } else if (field->scope == 0 && (field->field == 83 || field->field == 191)) {
        field->kind = 3;
        field->value.u64 = energy_of(gpu);
    } else if (field->scope == 0 && (field->field == 185 || field->field == 186)) {
        field->value.u32 = (unsigned)number_of(gpu, ".power", 100000);
    } else if (field->scope == 0 && field->field == 190) {
        field->value.u32 = (unsigned)number_of(gpu, ".limit", 700000);
    } else if (field->scope == 0 && field->field == 74) {
        field->kind = 3;
    } else {
        field->code = NOT_SUPPORTED;
    }
}

EXPORT int nvmlDeviceGetFieldValues(handle_t *device, int count, field_t *values) {
    ENTER_DEVICE(device);
    for (int i = 0; i < count; i++) answer_field(device->gpu, &values[i]);
    return SUCCESS;
}

/* ---- processes and MIG ---- */

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} process_t;

static int processes_of(const handle_t *device, unsigned *count, process_t *processes) {
    unsigned room = *count, found = 0;
    for (;; found++) {
        char value[MAX_TEXT], memory[64] = "";
        int is_there = device->mig < 0 ? find_of(device->gpu, value, ".process.%u", found)
                                       : find_of(device->gpu, value, ".mig.%d.process.%u", device->mig, found);
        if (!is_there) break;
        if (!processes || found >= room) continue;
        process_t *process = &processes[found];
        process->gpu_instance = process->compute_instance = 0xffffffffu;
        sscanf(value, "%u %63s", &process->pid, memory);
        process->memory = strcmp(memory, "unknown") ? strtoull(memory, NULL, 10) : UINT64_MAX;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(handle_t *device, unsigned *count, process_t *processes) {
    ENTER_DEVICE(device);
    return processes_of(device, count, processes);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(handle_t *device, unsigned *count, process_t *processes) {
    ENTER_DEVICE(device);
    return processes_of(device, count, processes);
}

EXPORT int nvmlDeviceGetMigMode(handle_t *device, unsigned *current, unsigned *pending) {
    char value[MAX_TEXT];
    ENTER_DEVICE(device);
    *current = *pending = (unsigned)find_of(device->gpu, value, ".mig.0");
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(handle_t *device, unsigned *count) {
    ENTER_DEVICE(device);
    *count = MAX_MIGS - 1;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(handle_t *device, unsigned index, handle_t **mig) {
    char value[MAX_TEXT];
    ENTER_DEVICE(device);
    if (index >= MAX_MIGS || !find_of(device->gpu, value, ".mig.%u", index)) return NOT_FOUND;
    *mig = &handles[device->gpu][index + 1];
    return SUCCESS;
}
