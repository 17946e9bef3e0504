package dev.hardtack;

/**
 * A model from a signed bundle. It computes the same bits as every other hardtack device.
 *
 * <p>Not for several threads at once.
 */
public final class Model implements AutoCloseable {
    static {
        System.loadLibrary("hardtack_jni");
    }

    private long handle;

    /**
     * Verifies a bundle, and replays its golden vectors.
     *
     * @param bundle the bytes of a .htb file
     * @throws SecurityException it is not signed by a key of this build, is for other hardware, or
     *     its bytes were changed
     * @throws IllegalArgumentException it is malformed, needs an operator that this build has not,
     *     or computes other bits than it should
     * @throws OutOfMemoryError there is no memory for it
     */
    public Model(byte[] bundle) {
        handle = open(bundle);
    }

    /** Number of inputs. */
    public int inputs() {
        return counts(alive())[0];
    }

    /** Number of outputs. */
    public int outputs() {
        return counts(alive())[1];
    }

    /** What input {@code index} takes. */
    public Port input(int index) {
        return port(alive(), index, true);
    }

    /** What output {@code index} gives. */
    public Port output(int index) {
        return port(alive(), index, false);
    }

    /**
     * Runs the model.
     *
     * @param codes all inputs, one after the other; real = scale * (code - zero)
     * @return all outputs, one after the other; codes of two bytes are little-endian
     * @throws IllegalArgumentException there are more or fewer codes than the inputs have
     */
    public byte[] run(byte[] codes) {
        return run(alive(), codes);
    }

    /** Frees its memory; it cannot be used any more. */
    @Override
    public void close() {
        if (handle != 0) {
            free(handle);
            handle = 0;
        }
    }

    private long alive() {
        if (handle == 0) {
            throw new IllegalStateException("the model is closed");
        }
        return handle;
    }

    /** An input or output: real = scale * (code - zero). */
    public static final class Port {
        public final int elements;

        /** Bytes of a code: 1, or 2 of an output in int16. */
        public final int codeSize;

        public final float scale;
        public final int zero;

        Port(int elements, int codeSize, float scale, int zero) {
            this.elements = elements;
            this.codeSize = codeSize;
            this.scale = scale;
            this.zero = zero;
        }
    }

    private static native long open(byte[] bundle);

    private static native void free(long handle);

    private static native int[] counts(long handle);

    private static native Port port(long handle, int index, boolean input);

    private static native byte[] run(long handle, byte[] codes);
}
