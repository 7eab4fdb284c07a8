/** Reads a packed vector: little-endian float32, one after another, on any machine. */
export function unpack(packed: Uint8Array): Float32Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return Float32Array.from({ length: packed.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** The scalar product. Embeddings have length 1, so that it is their cosine too. */
export function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
}
