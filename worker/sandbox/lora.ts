import { signature } from "./picture.ts";

const rank = 4;
const width = 16;
const bytesPerNumber = 4;

/** A LoRA that changes nothing, as a safetensors file: two matrices of zeros, which programs that read such files load. */
export function emptyLora(taskType: string): Uint8Array {
  const size = rank * width * bytesPerNumber;
  const header = Buffer.from(
    JSON.stringify({
      __metadata__: { software: signature, task_type: taskType },
      "sandbox.lora_A.weight": { dtype: "F32", shape: [rank, width], data_offsets: [0, size] },
      "sandbox.lora_B.weight": { dtype: "F32", shape: [width, rank], data_offsets: [size, size * 2] },
    }),
  );
  // The header's length, the header in whole eights, the numbers.
  const padded = Buffer.concat([header, Buffer.alloc((8 - (header.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, Buffer.alloc(size * 2)]);
}
