// Every shape of control flow: jump tables, loops that end at different times, stacks, early exits.
#include "common.h"

KERNEL dense_switch(const i32 *in, i32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    i32 x = in[i], y = x;
    switch ((u32)x % 16) {
    case 0: y = x * 3; break;
    case 1: y = x / 3; break;
    case 2: y = x % 7; break;
    case 3: y = x ^ 0x55; break;
    case 4: y = __popc(x); break;
    case 5: y = x << 3; break;
    case 6: y = x >> 3;  // falls through
    case 7: y += 11; break;
    case 8: y = -x; break;
    case 9: y = ~x; break;
    case 10: y = min(x, 100); break;
    case 11: y = max(x, -100); break;
    case 12: y = x & 0xff; break;
    case 13: y = abs(x % 1000); break;
    default: y = 1 << (x & 31);
    }
    out[i] = y;
}

KERNEL mandelbrot(u16 *out, int width, int height, int most)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    double cr = x * 3.0 / width - 2, ci = y * 2.0 / height - 1, r = 0, i = 0;
    int k = 0;
    while (k < most && __dadd_rn(__dmul_rn(r, r), __dmul_rn(i, i)) <= 4) {
        double t = __dadd_rn(__dsub_rn(__dmul_rn(r, r), __dmul_rn(i, i)), cr);
        i = __dadd_rn(__dmul_rn(2 * r, i), ci);
        r = t;
        k++;
    }
    out[y * width + x] = k;
}

KERNEL collatz(const u64 *in, u32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    u64 x = in[i];
    u32 steps = 0;
    for (; x != (FAULT == 1 ? 0 : 1); steps++)
        x = x & 1 ? 3 * x + 1 : x >> 1;  // fault 1: timeout
    out[i] = steps;
}

// The gcd by a loop with breaks and continues in all the wrong places.
KERNEL gcd(const u32 *a, const u32 *b, u32 *out, int n)
{
    for (int i = global_index(); i < n; i += gridDim.x * blockDim.x) {
        u32 x = a[i], y = b[i];
        if (x == 0 || y == 0) {
            out[i] = x | y;
            continue;
        }
        int shift = 0;
        while (!((x | y) & 1)) {
            x >>= 1;
            y >>= 1;
            shift++;
        }
        for (;;) {
            if (!(x & 1)) {
                x >>= 1;
                continue;
            }
            if (!(y & 1)) {
                y >>= 1;
                continue;
            }
            if (x == y) break;
            if (x > y)
                x -= y;
            else
                y -= x;
        }
        out[i] = x << shift;
    }
}

KERNEL search(const float *sorted, int size, const float *keys, int *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    int low = 0, high = size;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (sorted[middle] < keys[i])
            low = middle + 1;
        else
            high = middle;
    }
    out[i] = low;
}

// Solutions of n queens below every first move, by a stack of its own in local memory.
KERNEL queens(u32 *out, int n)
{
    int first = global_index();
    if (first >= n) return;
    u32 stack[3][17], all = (1u << n) - 1, found = 0;
    u32 choices[17];
    int depth = 1;
    u32 bit = 1u << first;
    stack[0][1] = bit;
    stack[1][1] = bit << 1;
    stack[2][1] = bit >> 1;
    choices[1] = all & ~(stack[0][1] | stack[1][1] | stack[2][1]);
    if (n == 1) found = 1;
    while (depth > 0) {
        u32 free = choices[depth];  // fault 2: uninitialized-read
        if (!free || n == 1) {
            depth--;
            continue;
        }
        u32 pick = free & -free;
        choices[depth] = free ^ pick;
        if (depth + 1 == n) {
            found++;
            continue;
        }
        u32 columns = stack[0][depth] | pick, left = (stack[1][depth] | pick) << 1,
            right = (stack[2][depth] | pick) >> 1;
        depth++;
        stack[0][depth] = columns;
        stack[1][depth] = left;
        stack[2][depth] = right;
        if (FAULT != 2) choices[depth] = all & ~(columns | left | right);
    }
    out[first] = found;
}

// A 4 x 4 sudoku a thread, by backtracking: cells in a local array, digits tried in order.
KERNEL sudoku(const u8 *in, u8 *out, int n)
{
    int p = global_index();
    if (p >= n) return;
    u8 cell[16], fixed[16];
    for (int k = 0; k < 16; k++) {
        cell[k] = in[16 * p + k];
        fixed[k] = cell[k] != 0;
    }
    int at = 0, step = 1;
    while (at >= 0 && at < 16) {
        if (fixed[at]) {
            at += step;
            continue;
        }
        bool placed = false;
        while (!placed && cell[at] < 4) {
            u8 digit = ++cell[at];
            placed = true;
            int r = at / 4, c = at % 4;
            for (int k = 0; k < 4; k++) {
                int box = (r / 2 * 2 + k / 2) * 4 + c / 2 * 2 + k % 2;
                if ((r * 4 + k != at && cell[r * 4 + k] == digit) || (k * 4 + c != at && cell[k * 4 + c] == digit)
                    || (box != at && cell[box] == digit)) {
                    placed = false;
                    break;
                }
            }
        }
        if (!placed) cell[at] = 0;
        step = placed ? 1 : -1;
        at += step;
    }
    for (int k = 0; k < 16; k++) out[16 * p + k] = cell[k];
}

// Where a pattern stands first, one thread a text.
KERNEL find_text(const char *texts, int length, const char *pattern, int size, int *out, int count)
{
    int t = global_index();
    if (t >= count) return;
    const char *text = texts + t * length;
    int at = -1;
    for (int i = 0; i + size <= length && at < 0; i++) {
        int k = 0;
        while (k < size && text[i + k] == pattern[k]) k++;
        if (k == size) at = i;
    }
    out[t] = at;
}

// Counts of letters in local memory, indexed by data.
KERNEL letters(const u8 *in, u8 *most, int length, int count)
{
    int t = global_index();
    if (t >= count) return;
    u16 bins[26];
    for (int k = 0; k < 26; k++) bins[k] = 0;
    for (int k = 0; k < length; k++)
        bins[in[t * length + k] - 'a' + (FAULT == 3 ? 26 * 64 : 0)]++;  // fault 3: out-of-bounds
    int best = 0;
    for (int k = 1; k < 26; k++)
        if (bins[k] > bins[best]) best = k;
    most[t] = 'a' + best;
}

// A machine with states as labels: control flow no structure fits.
KERNEL state_machine(const u8 *in, u32 *out, int length, int count)
{
    int t = global_index();
    if (t >= count) return;
    const u8 *p = in + t * length, *end = p + length;
    u32 numbers = 0, words = 0, others = 0;
start:
    if (p == end) goto done;
    if (*p >= '0' && *p <= '9') goto number;
    if (*p >= 'a' && *p <= 'z') goto word;
    others++;
    p++;
    goto start;
number:
    numbers++;
    while (p != end && *p >= '0' && *p <= '9') p++;
    if (p != end && *p >= 'a' && *p <= 'z') goto word_tail;
    goto start;
word:
    words++;
word_tail:
    while (p != end && *p >= 'a' && *p <= 'z') p++;
    if (p != end && *p >= '0' && *p <= '9') goto number;
    goto start;
done:
    out[t] = numbers << 20 | words << 10 | others;
}

// A block whose threads leave one by one, and a trap for what must not be.
KERNEL leave_early(const i32 *in, i32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    if (FAULT == 4 && in[i] % 5 == 0) __trap();  // fault 4: crash
    for (int k = 0; k < 10; k++) {
        if (in[i] % 10 == k) {
            out[i] = k * k;
            return;
        }
        if (in[i] < 0) break;
    }
    out[i] = -1;
}

// Barriers in a loop whose count all threads share, in a branch that all take.
KERNEL barriers_in_loops(const i32 *in, i32 *out, int n, int rounds)
{
    __shared__ i32 now[64];
    int t = threadIdx.x;
    if (FAULT == 5 && t == 40) return;
    now[t] = t < n ? in[t] : 0;
    if (n > 3) {
        for (int k = 0; k < rounds; k++) {
            __syncthreads();  // fault 5: barrier-divergence
            i32 next = now[(t + 1) % 64];
            if (k % 3 == 2) continue;
            __syncthreads();
            now[t] = next;
        }
    }
    out[t] = now[t];
}

__device__ __noinline__ u32 ackermann(u32 m, u32 n)
{
    if (m == 0) return n + 1;
    if (n == 0 && FAULT != 6) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));  // fault 6: resource-limit
}

KERNEL recursion(const u32 *m, const u32 *n, u32 *out, int count)
{
    int i = global_index();
    if (i < count) out[i] = ackermann(m[i], n[i]);
}

typedef float (*Function)(float);
__device__ __noinline__ float doubled(float x) { return 2 * x; }
__device__ __noinline__ float squared(float x) { return x * x; }
__device__ __noinline__ float reversed(float x) { return -x; }
__device__ Function functions[3] = {doubled, squared, reversed};

KERNEL by_pointer(const float *in, const u8 *which, float *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = functions[which[i]](in[i]);
}

struct Shape {
    __device__ virtual float area() const = 0;
};
struct Square : Shape {
    float side;
    __device__ Square(float s) : side(s) {}
    __device__ float area() const override { return side * side; }
};
struct Disc : Shape {
    float radius;
    __device__ Disc(float r) : radius(r) {}
    __device__ float area() const override { return 3 * radius * radius; }
};

KERNEL by_class(const float *in, float *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    Square square(in[i]);
    Disc disc(in[i]);
    const Shape *shape = i % 3 ? (const Shape *)&square : (const Shape *)&disc;
    out[i] = shape->area();
}
