/*
 * Preloaded into an engine (LD_PRELOAD): records every write, truncate, sync, create and unlink below one
 * folder, and makes them fail or wait on command.
 *
 *   TRINE_DISK_DIR      the folder that is watched; everything else passes through
 *   TRINE_DISK_TRACE    where records are appended; unset = nothing is recorded
 *   TRINE_DISK_CONTROL  a file of 16 bytes that is mapped: int32 mode, int32 number of syncs that
 *                       wait, int64 room
 *
 * Modes: 0 = nothing; 1 = the disk has `room` bytes left (what files grow by is taken from it, what
 * unlinking and truncating frees is given back); 2 = read-only; 3 = writes and syncs fail with EIO;
 * 4 = syncs fail with EIO; 5 = syncs take until the mode changes.
 *
 * A record: uint32 magic, uint8 kind, uint8 0, uint16 length of the path, uint64 offset, uint32 length of
 * the data, uint32 0, path, data. The offset of a sync is the length that the trace had when it began: what
 * was written later is not covered by it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 65536
#define MAGIC 0x4b534944u

enum mode { NONE, FULL, READ_ONLY, IO_ERROR, SYNC_ERROR, SLOW_SYNC };

struct control {
  volatile int32_t mode;
  volatile int32_t waiting;
  volatile int64_t room;
};

struct record {
  uint32_t magic;
  uint8_t kind;
  uint8_t zero;
  uint16_t path_length;
  uint64_t offset;
  uint32_t data_length;
  uint32_t zero2;
};

static char *paths[MAX_FILES];
static char folder[PATH_MAX];
static size_t folder_length;
static int trace = -1;
static struct control *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void begin(void) {
  real_open = dlsym(RTLD_NEXT, "open64");
  real_close = dlsym(RTLD_NEXT, "close");
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_rename = dlsym(RTLD_NEXT, "rename");
  const char *dir = getenv("TRINE_DISK_DIR");
  if (dir == NULL) return;
  snprintf(folder, sizeof folder, "%s/", dir);
  folder_length = strlen(folder);
  const char *to = getenv("TRINE_DISK_TRACE");
  if (to != NULL) trace = real_open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const char *by = getenv("TRINE_DISK_CONTROL");
  int fd = by == NULL ? -1 : real_open(by, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) control = mapped;
  real_close(fd);
}

static int mode(void) { return control == NULL ? NONE : control->mode; }

static int is_watched(const char *path) { return folder_length > 0 && strncmp(path, folder, folder_length) == 0; }

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FILES ? paths[fd] : NULL; }

static off64_t size_of(int fd) {
  struct stat64 status;
  return fstat64(fd, &status) == 0 ? status.st_size : 0;
}

static void put(char kind, const char *path, uint64_t offset, const void *data, size_t length) {
  if (trace < 0) return;
  const char *name = path + folder_length;
  struct record head = {MAGIC, (uint8_t)kind, 0, (uint16_t)strlen(name), offset, (uint32_t)length, 0};
  struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, head.path_length}, {(void *)data, length}};
  if (real_writev(trace, parts, length > 0 ? 3 : 2) < 0) abort();
}

/* May this many bytes be written at this place? The lock is held. */
static int refuse_write(int fd, off64_t offset, size_t length) {
  switch (mode()) {
    case READ_ONLY: return EROFS;
    case IO_ERROR: return EIO;
    case FULL: {
      off64_t growth = offset + (off64_t)length - size_of(fd);
      if (growth <= 0) return 0;
      if (growth > control->room) return ENOSPC;
      control->room -= growth;
      return 0;
    }
    default: return 0;
  }
}

static ssize_t write_at(int fd, const char *path, const void *data, size_t length, off64_t offset, int moves) {
  pthread_mutex_lock(&lock);
  int error = refuse_write(fd, offset, length);
  ssize_t written = -1;
  if (error == 0) {
    written = moves ? real_write(fd, data, length) : real_pwrite(fd, data, length, offset);
    error = errno;
    if (written > 0) put('W', path, (uint64_t)offset, data, (size_t)written);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

static off64_t position(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_APPEND) ? size_of(fd) : lseek64(fd, 0, SEEK_CUR);
}

static int opened(const char *path, int flags, mode_t permissions) {
  if (!is_watched(path)) return real_open(path, flags, permissions);
  int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
  if (writes && mode() == READ_ONLY) {
    errno = EROFS;
    return -1;
  }
  pthread_mutex_lock(&lock);
  struct stat64 before;
  int was_there = stat64(path, &before) == 0;
  int fd = real_open(path, flags, permissions);
  int error = errno;
  if (fd >= 0 && fd < MAX_FILES && writes) {
    paths[fd] = strdup(path);
    if (!was_there && (flags & O_CREAT)) put('C', path, 0, NULL, 0);
    if (was_there && (flags & O_TRUNC) && before.st_size > 0) {
      if (control != NULL) control->room += before.st_size;
      put('T', path, 0, NULL, 0);
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

static mode_t permissions_of(int flags, va_list arguments) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t permissions = permissions_of(flags, arguments);
  va_end(arguments);
  return opened(path, flags, permissions);
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t permissions = permissions_of(flags, arguments);
  va_end(arguments);
  return opened(path, flags, permissions);
}

int close(int fd) {
  if (path_of(fd) != NULL) {
    pthread_mutex_lock(&lock);
    free(paths[fd]);
    paths[fd] = NULL;
    pthread_mutex_unlock(&lock);
  }
  return real_close(fd);
}

ssize_t write(int fd, const void *data, size_t length) {
  const char *path = path_of(fd);
  return path == NULL ? real_write(fd, data, length) : write_at(fd, path, data, length, position(fd), 1);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
  const char *path = path_of(fd);
  return path == NULL ? real_pwrite(fd, data, length, offset) : write_at(fd, path, data, length, offset, 0);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

static ssize_t write_parts(int fd, const char *path, const struct iovec *parts, int count, off64_t offset, int moves) {
  ssize_t total = 0;
  for (int i = 0; i < count; i++) {
    ssize_t written = write_at(fd, path, parts[i].iov_base, parts[i].iov_len, offset + total, moves);
    if (written < 0) return total > 0 ? total : -1;
    total += written;
    if ((size_t)written < parts[i].iov_len) break;
  }
  return total;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  const char *path = path_of(fd);
  return path == NULL ? real_writev(fd, parts, count) : write_parts(fd, path, parts, count, position(fd), 1);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  const char *path = path_of(fd);
  return path == NULL ? real_pwritev(fd, parts, count, offset) : write_parts(fd, path, parts, count, offset, 0);
}

int ftruncate64(int fd, off64_t length) {
  const char *path = path_of(fd);
  if (path == NULL) return real_ftruncate(fd, length);
  pthread_mutex_lock(&lock);
  off64_t before = size_of(fd);
  int error = refuse_write(fd, length, 0);
  int result = -1;
  if (error == 0) {
    result = real_ftruncate(fd, length);
    error = errno;
    if (result == 0) put('T', path, (uint64_t)length, NULL, 0);
    if (result == 0 && length < before && control != NULL) control->room += before - length;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*sync)(int)) {
  const char *path = path_of(fd);
  if (path == NULL) return sync(fd);
  pthread_mutex_lock(&lock);
  uint64_t begun = trace < 0 ? 0 : (uint64_t)lseek64(trace, 0, SEEK_END);
  pthread_mutex_unlock(&lock);
  if (mode() == SLOW_SYNC) {
    __sync_fetch_and_add(&control->waiting, 1);
    while (mode() == SLOW_SYNC) nanosleep(&(struct timespec){0, 20000000}, NULL);
    __sync_fetch_and_sub(&control->waiting, 1);
  }
  int now = mode();
  if (now == IO_ERROR || now == SYNC_ERROR) {
    errno = EIO;
    return -1;
  }
  if (now == READ_ONLY) {
    errno = EROFS;
    return -1;
  }
  int result = sync(fd);
  int error = errno;
  pthread_mutex_lock(&lock);
  if (result == 0 && path_of(fd) != NULL) put('S', paths[fd], begun, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int fsync(int fd) { return synced(fd, real_fsync); }

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int unlink(const char *path) {
  if (!is_watched(path)) return real_unlink(path);
  if (mode() == READ_ONLY) {
    errno = EROFS;
    return -1;
  }
  pthread_mutex_lock(&lock);
  struct stat64 before;
  int was_there = stat64(path, &before) == 0;
  int result = real_unlink(path);
  int error = errno;
  if (result == 0) {
    if (was_there && control != NULL) control->room += before.st_size;
    put('U', path, 0, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int rename(const char *from, const char *to) {
  if ((is_watched(from) || is_watched(to)) && mode() == READ_ONLY) {
    errno = EROFS;
    return -1;
  }
  return real_rename(from, to);
}
