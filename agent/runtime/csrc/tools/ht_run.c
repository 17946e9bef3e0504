/* ht_run BUNDLE [--bench N] [--stdin]: run a bundle on this machine, without Python.
 *
 * It replays the golden vectors, or with --stdin reads the codes of the inputs and writes those of
 * the outputs, and prints what cold start, memory and an inference cost. It checks structure, not
 * signatures: it is a bench tool, not an agent. */
#define _POSIX_C_SOURCE 200112L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "hardtack/ht_golden.h"

typedef struct options {
    const char *path;
    long bench;
    int from_stdin;
} options;

static double now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int parse(int argc, char **argv, options *options) {
    options->path = NULL;
    options->bench = 0;
    options->from_stdin = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--stdin") == 0) {
            options->from_stdin = 1;
        } else if (strcmp(argv[i], "--bench") == 0 && i + 1 < argc) {
            options->bench = strtol(argv[++i], NULL, 10);
        } else if (options->path == NULL && argv[i][0] != '-') {
            options->path = argv[i];
        } else {
            return 0;
        }
    }
    return options->path != NULL && options->bench >= 0;
}

/* Read a whole file into malloc'ed memory, NULL on failure. */
static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    void *bytes = NULL;
    if (file == NULL) {
        return NULL;
    }
    if (fseek(file, 0, SEEK_END) == 0) {
        const long end = ftell(file);
        rewind(file);
        *size = end > 0 ? (size_t)end : 0;
        bytes = *size > 0 ? malloc(*size) : NULL;
        if (bytes != NULL && fread(bytes, 1, *size, file) != *size) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}

static int fail(const char *what, ht_status status) {
    fprintf(stderr, "ht_run: %s: %s (%d)\n", what, ht_status_text(status), (int)status);
    return 1;
}

static int pipe_through(ht_model *model) {
    ht_port port;
    for (uint32_t i = 0; i < model->input_count; i++) {
        (void)ht_input(model, i, &port);
        if (fread(port.codes, 1, (size_t)port.elements, stdin) != (size_t)port.elements) {
            fprintf(stderr, "ht_run: standard input ends inside input %u\n", (unsigned)i);
            return 1;
        }
    }
    (void)ht_run(model);
    for (uint32_t i = 0; i < model->output_count; i++) {
        (void)ht_output(model, i, &port);
        fwrite(port.codes, 1, ht_port_bytes(&port), stdout);
    }
    return 0;
}

static int replay_all(ht_model *model) {
    ht_golden golden;
    ht_status status = ht_golden_open(model, &golden);
    if (status != HT_OK) {
        return fail("golden vectors", status);
    }
    for (uint32_t i = 0; i < golden.count; i++) {
        uint32_t diverged = 0;
        status = ht_golden_replay(model, &golden, i, &diverged);
        if (status != HT_OK) {
            fprintf(stderr, "vector %u, operator %u\n", (unsigned)i, (unsigned)diverged);
            return fail("golden vectors", status);
        }
    }
    printf("golden vectors: %u ok\n", (unsigned)golden.count);
    return 0;
}

static void bench(ht_model *model, long rounds) {
    double best = 0.0;
    double total = 0.0;
    for (long i = 0; i < rounds; i++) {
        const double start = now_us();
        (void)ht_run(model);
        const double took = now_us() - start;
        best = i == 0 || took < best ? took : best;
        total += took;
    }
    printf("inference: best %.2f us, mean %.2f us of %ld\n", best, total / (double)rounds, rounds);
}

static int run(const options *options, void *bytes, size_t size, double start) {
    ht_model model;
    ht_status status = ht_model_open(bytes, size, &model);
    if (status != HT_OK) {
        return fail(options->path, status);
    }
    const size_t arena_size = model.bundle.arena_size;
    void *weights = malloc(model.bundle.unpacked_size + 1u);
    void *arena = calloc(arena_size + 1u, 1);
    const double opened = now_us();
    int result = 1;
    if (weights == NULL || arena == NULL) {
        fprintf(stderr, "ht_run: out of memory\n");
    } else if ((status = ht_weights_unpack(&model, weights, model.bundle.unpacked_size)) != HT_OK ||
               (status = ht_model_set_arena(&model, arena, arena_size)) != HT_OK) {
        result = fail(options->path, status);
    } else {
        const double unpacked = now_us();
        (void)ht_run(&model);
        const double ran = now_us();
        result = options->from_stdin ? pipe_through(&model) : replay_all(&model);
        if (!options->from_stdin) {
            struct rusage usage;
            getrusage(RUSAGE_SELF, &usage);
            printf("open %.1f us, unpack %.1f us, first run %.1f us\n", opened - start,
                   unpacked - opened, ran - unpacked);
            printf("arena %u B, unpacked %u B, peak RSS %ld KiB\n",
                   (unsigned)model.bundle.arena_size, (unsigned)model.bundle.unpacked_size,
                   usage.ru_maxrss);
        }
        if (result == 0 && options->bench > 0) {
            bench(&model, options->bench);
        }
    }
    free(arena);
    free(weights);
    return result;
}

int main(int argc, char **argv) {
    options options;
    const double start = now_us();
    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "usage: ht_run BUNDLE [--bench N] [--stdin]\n");
        return 2;
    }
    size_t size = 0;
    void *bytes = read_file(options.path, &size);
    if (bytes == NULL) {
        fprintf(stderr, "ht_run: %s: cannot be read\n", options.path);
        return 1;
    }
    const int result = run(&options, bytes, size, start);
    free(bytes);
    return result;
}
