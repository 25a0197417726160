/* io_uring on a connected descriptor, by raw system calls. */
#include "../check.h"
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ENTRIES 8

static struct {
    int fd;
    unsigned *tail, *mask, *array;
    struct io_uring_sqe *sqes;
    unsigned *done_head, *done_tail, *done_mask;
    struct io_uring_cqe *cqes;
} ring;

static void *map(size_t length, off_t offset)
{
    void *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);
    if (start == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return start;
}

static bool open_ring(void)
{
    struct io_uring_params params = {0};
    ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
    tell_bool("io_uring", ring.fd >= 0);
    if (ring.fd < 0)
        return false;
    char *submissions = map(params.sq_off.array + params.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    ring.tail = (unsigned *)(submissions + params.sq_off.tail);
    ring.mask = (unsigned *)(submissions + params.sq_off.ring_mask);
    ring.array = (unsigned *)(submissions + params.sq_off.array);
    ring.sqes = map(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    char *completions = map(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
                            IORING_OFF_CQ_RING);
    ring.done_head = (unsigned *)(completions + params.cq_off.head);
    ring.done_tail = (unsigned *)(completions + params.cq_off.tail);
    ring.done_mask = (unsigned *)(completions + params.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(completions + params.cq_off.cqes);
    return true;
}

static void submit(struct io_uring_sqe entry, unsigned wait)
{
    unsigned tail = *ring.tail, index = tail & *ring.mask;
    ring.sqes[index] = entry;
    ring.array[index] = index;
    atomic_store_explicit((_Atomic unsigned *)ring.tail, tail + 1, memory_order_release);
    (void)syscall(SYS_io_uring_enter, ring.fd, 1, wait, wait > 0 ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
}

static void tell_completion(const char *name)
{
    unsigned head = *ring.done_head;
    if (head == atomic_load_explicit((_Atomic unsigned *)ring.done_tail, memory_order_acquire))
        (void)syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    int result = ring.cqes[head & *ring.done_mask].res;
    atomic_store_explicit((_Atomic unsigned *)ring.done_head, head + 1, memory_order_release);
    errno = result < 0 ? -result : 0;
    tell(name, result < 0 ? -1 : result);
}

static struct io_uring_sqe operation(uint8_t code, int fd, void *bytes, unsigned count)
{
    return (struct io_uring_sqe){.opcode = code, .fd = fd, .addr = (uintptr_t)bytes, .len = count};
}

int main(void)
{
    char buffer[16] = "";
    int fd = connected_to("ECHO");
    if (!open_ring())
        return 0;
    /* It waits for bytes that are not there yet. */
    submit(operation(IORING_OP_RECV, fd, buffer, 5), 0);
    submit(operation(IORING_OP_SEND, fd, "hello", 5), 1);
    tell_completion("SEND");
    tell_completion("RECV");
    tell_text("RECV: bytes", buffer);
    submit(operation(IORING_OP_WRITE, fd, "abc", 3), 1);
    tell_completion("WRITE");
    struct io_uring_sqe readable = operation(IORING_OP_POLL_ADD, fd, NULL, 0);
    readable.poll32_events = POLLIN;
    submit(readable, 1);
    tell_completion("POLL_ADD");
    submit(operation(IORING_OP_READ, fd, buffer, sizeof(buffer)), 1);
    tell_completion("READ");
    struct io_uring_sqe half = operation(IORING_OP_SHUTDOWN, fd, NULL, SHUT_WR);
    submit(half, 1);
    tell_completion("SHUTDOWN");
    submit(operation(IORING_OP_RECV, fd, buffer, 1), 1);
    tell_completion("RECV at the end");
    submit(operation(IORING_OP_CLOSE, fd, NULL, 0), 1);
    tell_completion("CLOSE");
    tell("closed", read(fd, buffer, 1));
    return 0;
}
