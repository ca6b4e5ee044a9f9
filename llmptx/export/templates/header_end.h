
/* The kernel of a routine ("numpy.exp") and dtype ("float32"). Null where there is none, and where its bytes
   are not what was exported. */
static inline const struct NAME_kernel *NAME_find(const char *routine, const char *dtype) {
    size_t i;
    for (i = 0; i < sizeof NAME_kernels / sizeof *NAME_kernels; i++) {
        const struct NAME_kernel *kernel = &NAME_kernels[i];
        if (!strcmp(kernel->routine, routine) && !strcmp(kernel->dtype, dtype)) {
            char found[65];
            llmptx_sha256(kernel->ptx, kernel->size, found);
            return strcmp(found, kernel->sha256) ? NULL : kernel;
        }
    }
    return NULL;
}

#endif
