/** Real safetensors: one matrix of zeros. `label` is in its metadata. */
export function flatWeights(label: string): Uint8Array {
  const size = 4 * 16 * 4;
  const header = JSON.stringify({
    __metadata__: { software: "fake FAL", comment: label },
    "transformer.lora_A.weight": { dtype: "F32", shape: [4, 16], data_offsets: [0, size] },
  });
  const padded = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, Buffer.alloc(size)]);
}
