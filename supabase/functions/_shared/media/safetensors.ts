const lengthBytes = 8;
const mostHeaderBytes = 16 * 1024 * 1024;

/**
 * What is wrong with a file of weights in the safetensors format; undefined for a complete one. The format: the length of the header
 * (8 bytes, little-endian), the header (JSON: tensors by name, each with `dtype`, `shape` and `data_offsets`), then the tensors, one
 * after the other, to the end of the file. Only the header is read.
 */
export function faultOfSafetensors(bytes: Uint8Array): string | undefined {
  if (bytes.byteLength < lengthBytes) return "are no safetensors file";
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const most = Math.min(mostHeaderBytes, bytes.byteLength - lengthBytes);
  if (length < 2n || length > BigInt(most)) return "are no safetensors file";
  const header = headerIn(bytes.subarray(lengthBytes, lengthBytes + Number(length)));
  if (!header) return "are no safetensors file";
  const ranges: [number, number][] = [];
  for (const [name, tensor] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const range = rangeOf(tensor);
    if (!range) return "have a header that cannot be read";
    ranges.push(range);
  }
  if (ranges.length === 0) return "have no tensors";
  let end = 0;
  for (const [from, to] of ranges.sort(([a, b], [c, d]) => a - c || b - d)) {
    if (from !== end) return "have a header that cannot be read";
    end = to;
  }
  return end === bytes.byteLength - lengthBytes - Number(length) ? undefined : "are not complete";
}

function headerIn(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // Neither UTF-8 nor JSON: a file of another kind.
  }
}

/** Where the tensor is, after the header: `[from, to]`. */
function rangeOf(tensor: unknown): [number, number] | undefined {
  if (!isObject(tensor)) return undefined;
  const { dtype, shape, data_offsets: offsets } = tensor;
  if (typeof dtype !== "string" || !Array.isArray(shape) || !Array.isArray(offsets)) return undefined;
  const [from, to] = offsets as unknown[];
  if (offsets.length !== 2 || !isOffset(from) || !isOffset(to) || from > to) return undefined;
  return [from, to];
}

function isOffset(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
