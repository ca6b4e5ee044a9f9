// FAULT picks a planted fault; 0 is the right kernel. The line a fault is found at is marked so:
//     statement;  // fault 3: data-race
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned u32;
typedef long long i64;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu

__device__ __forceinline__ int global_index() { return blockIdx.x * blockDim.x + threadIdx.x; }
