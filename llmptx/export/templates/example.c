/* Runs a kernel on bytes from a file: example ROUTINE DTYPE EXTENT... < inputs, one after another > output
   Build: cc -O2 -I$CUDA_HOME/include example.c -lcuda -o example */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

#include "NAME.h"

static void must(CUresult code, const char *what) {
    if (code != CUDA_SUCCESS) {
        const char *said = "?";
        cuGetErrorString(code, &said);
        fprintf(stderr, "%s: %s\n", what, said);
        exit(1);
    }
}

int main(int argc, char **argv) {
    const struct NAME_kernel *kernel = argc > 2 ? NAME_find(argv[1], argv[2]) : NULL;
    int64_t extents[8] = {0};
    struct NAME_launch launches[16];
    CUdeviceptr buffers[32];
    CUdevice device;
    CUcontext context;
    CUmodule module;
    int i, j, count;

    if (!kernel || argc != 3 + kernel->extents) {
        fprintf(stderr, "no such kernel, its bytes were changed, or not as many extents as it has\n");
        return 2;
    }
    for (i = 0; i < kernel->extents; i++) extents[i] = strtoll(argv[3 + i], NULL, 10);

    must(cuInit(0), "cuInit");
    must(cuDeviceGet(&device, 0), "cuDeviceGet");
    must(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    must(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    must(cuModuleLoadData(&module, kernel->ptx), "cuModuleLoadData");

    for (i = 0; i <= kernel->inputs + kernel->scratch; i++) {
        size_t bytes = (size_t)kernel->bytes(extents, i);
        must(cuMemAlloc(&buffers[i], bytes ? bytes : 1), "cuMemAlloc");
        if (i < kernel->inputs && bytes) {
            void *host = malloc(bytes);
            if (!host || fread(host, 1, bytes, stdin) != bytes) {
                fprintf(stderr, "input %d wants %zu bytes\n", i, bytes);
                return 2;
            }
            must(cuMemcpyHtoD(buffers[i], host, bytes), "cuMemcpyHtoD");
            free(host);
        }
    }

    count = kernel->plan(extents, launches);
    for (i = 0; i < count; i++) {
        struct NAME_launch *l = &launches[i];
        CUfunction function;
        void *args[16];
        must(cuModuleGetFunction(&function, module, l->entry), "cuModuleGetFunction");
        if (l->shared > 48 * 1024)
            must(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)l->shared),
                 "cuFuncSetAttribute");
        for (j = 0; j < l->count; j++)
            args[j] = l->args[j].buffer < 0 ? (void *)&l->args[j].value : (void *)&buffers[l->args[j].buffer];
        must(cuLaunchKernel(function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2],
                            l->shared, NULL, args, NULL),
             "cuLaunchKernel");
    }
    must(cuCtxSynchronize(), "cuCtxSynchronize");

    {
        size_t bytes = (size_t)kernel->bytes(extents, kernel->inputs);
        void *host = malloc(bytes ? bytes : 1);
        if (!host) return 1;
        if (bytes) must(cuMemcpyDtoH(host, buffers[kernel->inputs], bytes), "cuMemcpyDtoH");
        fwrite(host, 1, bytes, stdout);
    }
    return 0;
}
