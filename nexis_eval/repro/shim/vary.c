/*
 * Lets `nexis-eval repro check` vary, or pin, what no namespace can: the wall clock, the order of directory listings,
 * random numbers, and what memory holds before it is written. Loaded into dynamically linked programs of the sandbox by
 * /etc/ld.so.preload, so that the environment stays as it was; statically linked programs are not affected.
 *
 * Settings are read from /in/vary/settings, one "name value" a line:
 *   frozen SECONDS    the wall clock stands still
 *   offset SECONDS    the wall clock runs ahead
 *   started SECONDS   when the build began: only times of files made after that are shifted with the clock
 *   order sorted|reversed|NUMBER   the order of directory listings; a number seeds a shuffle
 *   seed NUMBER       random numbers come from this seed, the process id and a counter
 *   fill BYTE         heap and stack start out filled with this byte
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SETTINGS "/in/vary/settings"
#define NUMBERS "/in/vary/random"
#define IDENTIFIER "/in/vary/uuid"
#define WINDOW_SECONDS (7 * 86400)
#define DIRTY_STACK_BYTES (96 * 1024)

static long long frozen, offset, started;
static int is_frozen, is_seeded, fill = -1;
static enum { NATURAL, SORTED, REVERSED, SHUFFLED } order;
static uint64_t order_seed, random_state;

/* ---- settings ---- */

static void __attribute__((noinline)) dirty_stack(int byte)
{
	volatile unsigned char room[DIRTY_STACK_BYTES];

	for (size_t at = 0; at < sizeof room; at++)
		room[at] = (unsigned char)byte;
}

static void set(const char *name, const char *value)
{
	if (!strcmp(name, "frozen")) {
		is_frozen = 1;
		frozen = atoll(value);
	} else if (!strcmp(name, "offset")) {
		offset = atoll(value);
	} else if (!strcmp(name, "started")) {
		started = atoll(value);
	} else if (!strcmp(name, "order")) {
		if (!strcmp(value, "sorted")) {
			order = SORTED;
		} else if (!strcmp(value, "reversed")) {
			order = REVERSED;
		} else {
			order = SHUFFLED;
			order_seed = strtoull(value, NULL, 10);
		}
	} else if (!strcmp(name, "seed")) {
		is_seeded = 1;
		random_state = strtoull(value, NULL, 10) ^ ((uint64_t)getpid() << 32);
	} else if (!strcmp(name, "fill")) {
		fill = atoi(value) & 255;
	}
}

static void __attribute__((constructor)) read_settings(void)
{
	char text[1024], *line, *rest, *space;
	ssize_t size;
	int file = (int)syscall(SYS_openat, AT_FDCWD, SETTINGS, O_RDONLY | O_CLOEXEC, 0);

	if (file < 0)
		return;
	size = read(file, text, sizeof text - 1);
	close(file);
	text[size > 0 ? size : 0] = 0;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		space = strchr(line, ' ');
		if (space) {
			*space = 0;
			set(line, space + 1);
		}
	}
	if (fill >= 0)
		mallopt(M_PERTURB, fill ^ 255); /* the allocator stores the complement in fresh blocks */
}

/* ---- the stack ---- */

static int (*real_main)(int, char **, char **);

/* The loader ran on the same stack; what it left is overwritten last, just below where main will stand. */
static int clean_main(int count, char **arguments, char **environment)
{
	dirty_stack(fill);
	return real_main(count, arguments, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int count, char **arguments, void (*init)(void),
		      void (*fini)(void), void (*loader_fini)(void), void *stack_end)
{
	int (*real)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

	*(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
	real_main = main;
	return real(fill >= 0 ? clean_main : main, count, arguments, init, fini, loader_fini, stack_end);
}

/* ---- the clock ---- */

static void shift(time_t *seconds, long *fraction, long value)
{
	if (is_frozen) {
		*seconds = (time_t)frozen;
		*fraction = value;
	} else {
		*seconds += (time_t)offset;
	}
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
		shift(&now->tv_sec, &now->tv_nsec, 0);
	return result;
}

time_t time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where)
		*where = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &precise);
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

int timespec_get(struct timespec *now, int base)
{
	return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

/* Times of files made during this build move with the clock, so that make(1) finds them consistent. */
static void shift_file(struct timespec *when)
{
	if (started && (is_frozen || offset) && when->tv_sec >= started && when->tv_sec < started + WINDOW_SECONDS)
		shift(&when->tv_sec, &when->tv_nsec, 0);
}

static int shift_stat(int result, struct stat *status)
{
	if (!result) {
		shift_file(&status->st_atim);
		shift_file(&status->st_mtim);
		shift_file(&status->st_ctim);
	}
	return result;
}

static int status_of(int directory, const char *path, struct stat *status, int flags)
{
	return shift_stat((int)syscall(SYS_newfstatat, directory, path, status, flags), status);
}

int fstatat(int directory, const char *restrict path, struct stat *restrict status, int flags)
{
	return status_of(directory, path, status, flags);
}

int stat(const char *restrict path, struct stat *restrict status)
{
	return status_of(AT_FDCWD, path, status, 0);
}

int lstat(const char *restrict path, struct stat *restrict status)
{
	return status_of(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

int fstat(int file, struct stat *status)
{
	return shift_stat((int)syscall(SYS_fstat, file, status), status);
}

/* On 64-bit machines the "64" names are the same functions; old binaries call the "__x" ones. */
int fstatat64(int directory, const char *restrict path, struct stat64 *restrict status, int flags)
{
	return status_of(directory, path, (struct stat *)status, flags);
}

int stat64(const char *restrict path, struct stat64 *restrict status)
{
	return stat(path, (struct stat *)status);
}

int lstat64(const char *restrict path, struct stat64 *restrict status)
{
	return lstat(path, (struct stat *)status);
}

int fstat64(int file, struct stat64 *status)
{
	return fstat(file, (struct stat *)status);
}

int __xstat(int version, const char *path, struct stat *status)
{
	(void)version;
	return stat(path, status);
}

int __lxstat(int version, const char *path, struct stat *status)
{
	(void)version;
	return lstat(path, status);
}

int __fxstat(int version, int file, struct stat *status)
{
	(void)version;
	return fstat(file, status);
}

int __fxstatat(int version, int directory, const char *path, struct stat *status, int flags)
{
	(void)version;
	return fstatat(directory, path, status, flags);
}

static void shift_statx(struct statx_timestamp *when)
{
	struct timespec plain = {.tv_sec = when->tv_sec, .tv_nsec = when->tv_nsec};

	shift_file(&plain);
	when->tv_sec = plain.tv_sec;
	when->tv_nsec = (uint32_t)plain.tv_nsec;
}

int statx(int directory, const char *restrict path, int flags, unsigned int mask, struct statx *restrict status)
{
	int result = (int)syscall(SYS_statx, directory, path, flags, mask, status);

	if (!result) {
		shift_statx(&status->stx_atime);
		shift_statx(&status->stx_mtime);
		shift_statx(&status->stx_ctime);
		shift_statx(&status->stx_btime);
	}
	return result;
}

/* ---- directory listings ---- */

struct listing {
	DIR *stream;
	struct dirent **entries;
	size_t count, next;
	struct listing *link;
};

static struct listing *listings;
static pthread_mutex_t listings_lock = PTHREAD_MUTEX_INITIALIZER;

static struct dirent *(*real_readdir)(DIR *);
static int (*real_closedir)(DIR *);
static void (*real_rewinddir)(DIR *);

static void find_real(void)
{
	if (!real_readdir) {
		real_closedir = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
		real_rewinddir = (void (*)(DIR *))dlsym(RTLD_NEXT, "rewinddir");
		real_readdir = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
	}
}

static int by_name(const void *first, const void *second)
{
	return strcmp((*(struct dirent *const *)first)->d_name, (*(struct dirent *const *)second)->d_name);
}

static uint64_t mix(uint64_t *state)
{
	/* splitmix64 (Steele, Lea, Flood 2014) */
	uint64_t value = (*state += 0x9e3779b97f4a7c15u);

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

static void arrange(struct listing *listing)
{
	uint64_t state = order_seed;
	size_t at, other;
	struct dirent *kept;

	qsort(listing->entries, listing->count, sizeof *listing->entries, by_name);
	if (order == SORTED || listing->count < 2)
		return;
	for (at = listing->count - 1; at > 0; at--) {
		other = order == REVERSED ? listing->count - 1 - at : mix(&state) % (at + 1);
		if (order == REVERSED && other >= at)
			break;
		kept = listing->entries[at];
		listing->entries[at] = listing->entries[other];
		listing->entries[other] = kept;
	}
}

static struct listing *load(DIR *stream)
{
	struct listing *listing = calloc(1, sizeof *listing);
	struct dirent *entry, *copy, **grown;
	size_t room = 0;

	if (!listing)
		return NULL;
	listing->stream = stream;
	while ((entry = real_readdir(stream))) {
		if (listing->count == room) {
			room = room ? 2 * room : 64;
			grown = realloc(listing->entries, room * sizeof *grown);
			if (!grown)
				break;
			listing->entries = grown;
		}
		copy = malloc(entry->d_reclen);
		if (!copy)
			break;
		memcpy(copy, entry, entry->d_reclen);
		listing->entries[listing->count++] = copy;
	}
	arrange(listing);
	for (room = 0; room < listing->count; room++)
		listing->entries[room]->d_off = (off_t)(room + 1);
	return listing;
}

static struct listing *find(DIR *stream, int remove)
{
	struct listing **at, *found = NULL;

	pthread_mutex_lock(&listings_lock);
	for (at = &listings; *at; at = &(*at)->link) {
		if ((*at)->stream == stream) {
			found = *at;
			if (remove)
				*at = found->link;
			break;
		}
	}
	pthread_mutex_unlock(&listings_lock);
	return found;
}

static void release(DIR *stream)
{
	struct listing *listing = find(stream, 1);

	if (!listing)
		return;
	while (listing->count)
		free(listing->entries[--listing->count]);
	free(listing->entries);
	free(listing);
}

struct dirent *readdir(DIR *stream)
{
	struct listing *listing;
	int saved = errno;

	find_real();
	if (order == NATURAL)
		return real_readdir(stream);
	listing = find(stream, 0);
	if (!listing) {
		listing = load(stream);
		if (!listing)
			return NULL;
		pthread_mutex_lock(&listings_lock);
		listing->link = listings;
		listings = listing;
		pthread_mutex_unlock(&listings_lock);
	}
	errno = saved;
	return listing->next < listing->count ? listing->entries[listing->next++] : NULL;
}

struct dirent64 *readdir64(DIR *stream)
{
	return (struct dirent64 *)readdir(stream);
}

int closedir(DIR *stream)
{
	find_real();
	release(stream);
	return real_closedir(stream);
}

void rewinddir(DIR *stream)
{
	find_real();
	release(stream);
	real_rewinddir(stream);
}

long telldir(DIR *stream)
{
	struct listing *listing = find(stream, 0);
	static long (*real)(DIR *);

	if (listing)
		return (long)listing->next;
	if (order != NATURAL)
		return 0;
	if (!real)
		real = (long (*)(DIR *))dlsym(RTLD_NEXT, "telldir");
	return real(stream);
}

void seekdir(DIR *stream, long position)
{
	struct listing *listing = find(stream, 0);
	static void (*real)(DIR *, long);

	if (listing) {
		listing->next = (size_t)position;
		return;
	}
	if (order != NATURAL)
		return;
	if (!real)
		real = (void (*)(DIR *, long))dlsym(RTLD_NEXT, "seekdir");
	real(stream, position);
}

/* ---- random numbers ---- */

static pthread_mutex_t random_lock = PTHREAD_MUTEX_INITIALIZER;

static void numbers(void *where, size_t size)
{
	unsigned char *out = where;
	uint64_t value = 0;

	pthread_mutex_lock(&random_lock);
	for (size_t at = 0; at < size; at++) {
		if (at % 8 == 0)
			value = mix(&random_state);
		out[at] = (unsigned char)(value >> (8 * (at % 8)));
	}
	pthread_mutex_unlock(&random_lock);
}

ssize_t getrandom(void *where, size_t size, unsigned int flags)
{
	if (!is_seeded)
		return syscall(SYS_getrandom, where, size, flags);
	numbers(where, size);
	return (ssize_t)size;
}

int getentropy(void *where, size_t size)
{
	if (size > 256) {
		errno = EIO;
		return -1;
	}
	return getrandom(where, size, 0) == (ssize_t)size ? 0 : -1;
}

uint32_t arc4random(void)
{
	uint32_t value = 0;

	getrandom(&value, sizeof value, 0);
	return value;
}

void arc4random_buf(void *where, size_t size)
{
	getrandom(where, size, 0);
}

uint32_t arc4random_uniform(uint32_t bound)
{
	return bound < 2 ? 0 : arc4random() % bound;
}

/* The C library's own temporary names do not go through getrandom above. */
static int temporary(char *template, int suffix, int flags, int is_directory)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t length = strlen(template);
	unsigned char raw[6];
	char *place;
	int result;

	if (length < 6 + (size_t)suffix) {
		errno = EINVAL;
		return -1;
	}
	place = template + length - (size_t)suffix - 6;
	for (int attempt = 0; attempt < 10000; attempt++) {
		getrandom(raw, sizeof raw, 0);
		for (int at = 0; at < 6; at++)
			place[at] = letters[raw[at] % 62];
		if (is_directory)
			result = mkdir(template, 0700);
		else
			result = (int)syscall(SYS_openat, AT_FDCWD, template, flags | O_RDWR | O_CREAT | O_EXCL, 0600);
		if (result >= 0 || errno != EEXIST)
			return result;
	}
	return -1;
}

int mkostemps(char *template, int suffix, int flags)
{
	return temporary(template, suffix, flags, 0);
}

int mkstemps(char *template, int suffix)
{
	return temporary(template, suffix, 0, 0);
}

int mkostemp(char *template, int flags)
{
	return temporary(template, 0, flags, 0);
}

int mkstemp(char *template)
{
	return temporary(template, 0, 0, 0);
}

int mkstemp64(char *template)
{
	return temporary(template, 0, 0, 0);
}

int mkostemp64(char *template, int flags)
{
	return temporary(template, 0, flags, 0);
}

char *mkdtemp(char *template)
{
	return temporary(template, 0, 0, 1) < 0 ? NULL : template;
}

static const char *redirect(const char *path)
{
	if (!is_seeded || !path)
		return path;
	if (!strcmp(path, "/dev/urandom") || !strcmp(path, "/dev/random"))
		return NUMBERS;
	if (!strcmp(path, "/proc/sys/kernel/random/uuid"))
		return IDENTIFIER;
	return path;
}

static int open_file(int directory, const char *path, int flags, unsigned int mode)
{
	const char *place = redirect(path);

	if (place != path)
		flags = O_RDONLY | (flags & O_CLOEXEC);
	return (int)syscall(SYS_openat, directory, place, flags, mode);
}

#define MODE_OF(flags, last)                                                                                           \
	unsigned int mode = 0;                                                                                         \
	if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                       \
		va_list rest;                                                                                          \
		va_start(rest, last);                                                                                  \
		mode = va_arg(rest, unsigned int);                                                                     \
		va_end(rest);                                                                                          \
	}

int open(const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_file(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...)
{
	MODE_OF(flags, flags)
	return open_file(directory, path, flags, mode);
}

/* What a fortified program calls when the compiler cannot see the flags. */
int __open_2(const char *path, int flags)
{
	return open_file(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_file(AT_FDCWD, path, flags, 0);
}

int __openat_2(int directory, const char *path, int flags)
{
	return open_file(directory, path, flags, 0);
}

int __openat64_2(int directory, const char *path, int flags)
{
	return open_file(directory, path, flags, 0);
}

FILE *fopen(const char *restrict path, const char *restrict how)
{
	static FILE *(*real)(const char *, const char *);

	if (!real)
		real = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
	return real(redirect(path), how);
}

FILE *fopen64(const char *restrict path, const char *restrict how)
{
	return fopen(path, how);
}
