/* Counts what a program has allocated and not freed, for tests: loaded before it (LD_PRELOAD), it keeps bytes and number in a file
   that the test reads. Of glibc; the variables are taken away, so that children are not counted. */
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

struct counts { atomic_long bytes, number; };
static struct counts early;
static struct counts *counts = &early;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ALLOCATIONS");
    int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file < 0 || ftruncate(file, 4096)) return;
    struct counts *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared == MAP_FAILED) return;
    shared->bytes = early.bytes;
    shared->number = early.number;
    counts = shared;
    unsetenv("ALLOCATIONS");
    unsetenv("LD_PRELOAD");
}

static void *add(void *at, int sign)
{
    if (at) {
        counts->bytes += sign * (long)malloc_usable_size(at);
        counts->number += sign;
    }
    return at;
}

void *malloc(size_t size) { return add(__libc_malloc(size), 1); }
void *calloc(size_t number, size_t size) { return add(__libc_calloc(number, size), 1); }
void free(void *at) { __libc_free(add(at, -1)); }
void *memalign(size_t alignment, size_t size) { return add(__libc_memalign(alignment, size), 1); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

void *realloc(void *at, size_t size)
{
    add(at, -1);
    void *moved = __libc_realloc(at, size);
    add(moved || !size ? moved : at, 1);
    return moved;
}

int posix_memalign(void **at, size_t alignment, size_t size)
{
    *at = memalign(alignment, size);
    return *at ? 0 : 12;
}
