/* dev.hardtack.Model: the C runtime for the Java virtual machine. */
#include <jni.h>
#include <stdlib.h>
#include <string.h>

#include "hardtack/ht_board.h" /* ht_public_keys */
#include "hardtack/ht_golden.h"
#include "hardtack/ht_interpreter.h"
#include "hardtack/ht_verify.h"

#define HARDWARE "android"

typedef struct loaded_model {
    ht_model model;
    uint8_t *bundle, *arena, *weights;
    uint32_t input_size, output_size; /* bytes of all inputs and of all outputs */
} loaded_model;

typedef ht_status (*find_port)(const ht_model *model, uint32_t index, ht_port *port);

static void throw_new(JNIEnv *env, const char *class_name, const char *text) {
    const jclass class = (*env)->FindClass(env, class_name);
    if (class != NULL) {
        (*env)->ThrowNew(env, class, text);
    }
}

static loaded_model *of(jlong handle) {
    return (loaded_model *)(intptr_t)handle;
}

static void free_model(loaded_model *loaded) {
    if (loaded != NULL) {
        free(loaded->bundle);
        free(loaded->arena);
        free(loaded->weights);
        free(loaded);
    }
}

static uint32_t row_size(const ht_model *model, find_port find, uint32_t count) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        ht_port port;
        (void)find(model, i, &port);
        size += ht_port_bytes(&port);
    }
    return size;
}

/* Who vouches for it, and is it what they vouched for? NULL when all is well. */
static const char *distrust(const uint8_t *bundle, size_t size) {
    const ht_trust trust = {ht_public_keys, HARDWARE};
    if (size < HT_HEADER_SIZE || size > INT32_MAX) {
        return "this is no bundle";
    }
    switch (ht_verify_header(&trust, bundle, (uint32_t)size)) {
    case HT_REASON_OK:
        break;
    case HT_REASON_HEADER:
        return "this is no bundle of a known format";
    case HT_REASON_HARDWARE:
        return "the bundle is for other hardware than " HARDWARE;
    default:
        return "the bundle is not signed by a trusted key";
    }
    return ht_verify_digest(bundle) == HT_REASON_OK ? NULL : "the bundle was changed";
}

static ht_status replay(ht_model *model) {
    ht_golden golden;
    ht_status status = ht_golden_open(model, &golden);
    for (uint32_t i = 0; status == HT_OK && i < golden.count; i++) {
        status = ht_golden_replay(model, &golden, i, NULL);
    }
    return status;
}

static ht_status start(loaded_model *loaded, size_t size) {
    ht_model *model = &loaded->model;
    ht_status status = ht_model_open(loaded->bundle, size, model);
    if (status != HT_OK) {
        return status;
    }
    const size_t arena = model->bundle.arena_size;
    const size_t unpacked = model->bundle.unpacked_size;
    loaded->arena = calloc(1, arena + 1);
    loaded->weights = calloc(1, unpacked + 1);
    if (loaded->arena == NULL || loaded->weights == NULL) {
        return HT_ERR_MEMORY;
    }
    status = ht_model_set_arena(model, loaded->arena, arena);
    if (status == HT_OK) {
        status = ht_weights_unpack(model, loaded->weights, unpacked);
    }
    if (status == HT_OK) {
        loaded->input_size = row_size(model, ht_input, model->input_count);
        loaded->output_size = row_size(model, ht_output, model->output_count);
        status = replay(model);
    }
    return status;
}

JNIEXPORT jlong JNICALL Java_dev_hardtack_Model_open(JNIEnv *env, jclass class, jbyteArray bytes) {
    (void)class;
    if (bytes == NULL) {
        throw_new(env, "java/lang/NullPointerException", "bundle");
        return 0;
    }
    const jsize size = (*env)->GetArrayLength(env, bytes);
    loaded_model *loaded = calloc(1, sizeof *loaded);
    if (loaded != NULL) {
        loaded->bundle = malloc((size_t)size + 1);
    }
    if (loaded == NULL || loaded->bundle == NULL) {
        free_model(loaded);
        throw_new(env, "java/lang/OutOfMemoryError", "no memory for the bundle");
        return 0;
    }
    (*env)->GetByteArrayRegion(env, bytes, 0, size, (jbyte *)loaded->bundle);
    const char *why = distrust(loaded->bundle, (size_t)size);
    if (why != NULL) {
        free_model(loaded);
        throw_new(env, "java/lang/SecurityException", why);
        return 0;
    }
    const ht_status status = start(loaded, (size_t)size);
    if (status != HT_OK) {
        free_model(loaded);
        throw_new(env,
                  status == HT_ERR_MEMORY ? "java/lang/OutOfMemoryError"
                                          : "java/lang/IllegalArgumentException",
                  ht_status_text(status));
        return 0;
    }
    return (jlong)(intptr_t)loaded;
}

JNIEXPORT void JNICALL Java_dev_hardtack_Model_free(JNIEnv *env, jclass class, jlong handle) {
    (void)env;
    (void)class;
    free_model(of(handle));
}

JNIEXPORT jintArray JNICALL Java_dev_hardtack_Model_counts(JNIEnv *env, jclass class,
                                                           jlong handle) {
    (void)class;
    const ht_model *model = &of(handle)->model;
    const jint counts[2] = {(jint)model->input_count, (jint)model->output_count};
    const jintArray result = (*env)->NewIntArray(env, 2);
    if (result != NULL) {
        (*env)->SetIntArrayRegion(env, result, 0, 2, counts);
    }
    return result;
}

JNIEXPORT jobject JNICALL Java_dev_hardtack_Model_port(JNIEnv *env, jclass class, jlong handle,
                                                       jint index, jboolean input) {
    (void)class;
    ht_port port;
    const ht_model *model = &of(handle)->model;
    const find_port find = input ? ht_input : ht_output;
    if (index < 0 || find(model, (uint32_t)index, &port) != HT_OK) {
        throw_new(env, "java/lang/IndexOutOfBoundsException", "there is no such input or output");
        return NULL;
    }
    const jclass kind = (*env)->FindClass(env, "dev/hardtack/Model$Port");
    if (kind == NULL) {
        return NULL;
    }
    const jmethodID make = (*env)->GetMethodID(env, kind, "<init>", "(IIFI)V");
    if (make == NULL) {
        return NULL;
    }
    return (*env)->NewObject(env, kind, make, (jint)port.elements, (jint)port.code_size,
                             (jfloat)port.scale, (jint)port.zero);
}

JNIEXPORT jbyteArray JNICALL Java_dev_hardtack_Model_run(JNIEnv *env, jclass class, jlong handle,
                                                         jbyteArray codes) {
    (void)class;
    loaded_model *loaded = of(handle);
    ht_port port;
    jsize at = 0;
    if (codes == NULL || (*env)->GetArrayLength(env, codes) != (jsize)loaded->input_size) {
        throw_new(env, "java/lang/IllegalArgumentException", "as many codes as the inputs have");
        return NULL;
    }
    for (uint32_t i = 0; i < loaded->model.input_count; i++, at += port.elements) {
        (void)ht_input(&loaded->model, i, &port);
        (*env)->GetByteArrayRegion(env, codes, at, port.elements, port.codes);
    }
    (void)ht_run(&loaded->model);
    const jbyteArray result = (*env)->NewByteArray(env, (jsize)loaded->output_size);
    if (result == NULL) {
        return NULL;
    }
    at = 0;
    for (uint32_t i = 0; i < loaded->model.output_count; i++, at += (jsize)ht_port_bytes(&port)) {
        (void)ht_output(&loaded->model, i, &port);
        (*env)->SetByteArrayRegion(env, result, at, (jsize)ht_port_bytes(&port), port.codes);
    }
    return result;
}
