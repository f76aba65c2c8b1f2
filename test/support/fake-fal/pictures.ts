import { crc32, deflateSync } from "node:zlib";

export interface PictureSize {
  width: number;
  height: number;
}

export type PictureFormat = "png" | "jpeg" | "webp";

/** Pictures and films of the fake FAL have this colour, as 0xRRGGBB. */
export const falColour = 0xfa_1f_a1;

/** A real picture of one colour. `label` is in its metadata, so that no two labels make the same bytes. */
export function flatPicture(
  { width, height }: PictureSize,
  format: PictureFormat,
  label: string,
  colour = falColour,
): Uint8Array {
  switch (format) {
    case "png":
      return flatPng({ width, height }, label, colour);
    case "jpeg":
      return flatJpeg({ width, height }, label, colour);
    case "webp":
      return flatWebp({ width, height }, label, colour);
  }
}

const compressed = new Map<string, Buffer>();

function flatPng({ width, height }: PictureSize, label: string, colour: number): Uint8Array {
  const key = `${width}x${height} ${colour}`;
  let data = compressed.get(key);
  if (!data) {
    const line = Buffer.alloc(1 + width * 3);
    for (let at = 1; at < line.length; at += 3) line.writeUIntBE(colour, at, 3);
    data = deflateSync(Buffer.alloc(line.length * height, line), { level: 1 });
    compressed.set(key, data);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    pngChunk("IHDR", header),
    pngChunk("tEXt", Buffer.from(`Comment\0${label}`, "latin1")),
    pngChunk("IDAT", data),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

function pngChunk(type: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), content]);
  const chunk = Buffer.alloc(named.length + 8);
  chunk.writeUInt32BE(content.length, 0);
  named.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(named), named.length + 4);
  return chunk;
}

/** Writes bits into bytes. */
class Bits {
  readonly #bytes: number[] = [];
  /** Of the bits of a value, and of those of a byte. */
  readonly #order: "high first" | "low first";
  #byte = 0;
  #count = 0;

  constructor(order: "high first" | "low first") {
    this.#order = order;
  }

  write(value: number, count: number): void {
    for (let bit = 0; bit < count; bit++) {
      const isSet = (value >> (this.#order === "high first" ? count - 1 - bit : bit)) & 1;
      this.#byte |= isSet << (this.#order === "high first" ? 7 - this.#count : this.#count);
      if (++this.#count === 8) this.flush(0);
    }
  }

  flush(filling: 0 | 1): void {
    if (this.#count === 0) return;
    // The bits below those that are written.
    if (filling === 1) this.#byte |= (1 << (8 - this.#count)) - 1;
    this.#bytes.push(this.#byte);
    // In JPEG, a zero follows each byte of ones.
    if (this.#order === "high first" && this.#byte === 0xff) this.#bytes.push(0);
    [this.#byte, this.#count] = [0, 0];
  }

  bytes(): Buffer {
    return Buffer.from(this.#bytes);
  }
}

/** Baseline, three components of the full size, all quantized by 1: each block is the one before it. */
function flatJpeg({ width, height }: PictureSize, label: string, colour: number): Uint8Array {
  const segment = (marker: number, content: Uint8Array | number[]): Buffer => {
    const header = Buffer.from([0xff, marker, 0, 0]);
    header.writeUInt16BE(content.length + 2, 2);
    return Buffer.concat([header, Buffer.from(content)]);
  };
  const [red, green, blue] = [colour >> 16, (colour >> 8) & 0xff, colour & 0xff];
  const samples = [
    0.299 * red + 0.587 * green + 0.114 * blue,
    128 - 0.168_736 * red - 0.331_264 * green + 0.5 * blue,
    128 + 0.5 * red - 0.418_688 * green - 0.081_312 * blue,
  ];
  // The mean of a block of 8 × 8 is an eighth of its first coefficient.
  const firsts = samples.map((sample) => Math.round((sample - 128) * 8));
  const size = Buffer.alloc(4);
  size.writeUInt16BE(height, 0);
  size.writeUInt16BE(width, 2);
  const counts = (...lengths: number[]) => [
    ...lengths,
    ...Array.from({ length: 16 - lengths.length }, () => 0),
  ];
  // Differences of 0 take one bit; those of up to 11 bits take four and their bits.
  const lengths = Array.from({ length: 11 }, (_, index) => index + 1);
  const bits = new Bits("high first");
  const blocks = Math.ceil(width / 8) * Math.ceil(height / 8);
  for (let block = 0; block < blocks; block++) {
    for (const first of firsts) {
      const difference = block === 0 ? first : 0;
      const length = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1;
      if (length === 0) bits.write(0, 1);
      else {
        bits.write(0b10_000 + length - 1, 5);
        bits.write(difference > 0 ? difference : difference + 2 ** length - 1, length);
      }
      bits.write(0, 1); // The block ends.
    }
  }
  bits.flush(1);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    segment(0xe0, Buffer.from("JFIF\0\x01\x01\0\0\x01\0\x01\0\0", "latin1")),
    segment(0xfe, Buffer.from(label, "latin1")),
    segment(0xdb, [0, ...Array.from({ length: 64 }, () => 1)]),
    segment(0xc0, [8, ...size, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]),
    segment(0xc4, [0x00, ...counts(1, 0, 0, 0, lengths.length), 0, ...lengths]),
    segment(0xc4, [0x10, ...counts(1), 0]),
    segment(0xda, [3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
    bits.bytes(),
    Buffer.from([0xff, 0xd9]),
  ]);
}

/** Lossless: every channel has one value, which takes no bits. */
function flatWebp({ width, height }: PictureSize, label: string, colour: number): Uint8Array {
  const bits = new Bits("low first");
  bits.write(0x2f, 8);
  bits.write(width - 1, 14);
  bits.write(height - 1, 14);
  bits.write(0, 1); // Opaque.
  bits.write(0, 3); // The version.
  bits.write(0, 1); // No transform.
  bits.write(0, 1); // No cache of colours.
  bits.write(0, 1); // One set of codes for the whole picture.
  for (const value of [(colour >> 8) & 0xff, colour >> 16, colour & 0xff, 0xff]) {
    bits.write(1, 1); // A simple code …
    bits.write(0, 1); // of one symbol …
    bits.write(1, 1); // of eight bits.
    bits.write(value, 8);
  }
  bits.write(0b0001, 4); // Distances, which do not occur: one symbol of one bit, 0.
  bits.flush(0);
  const chunk = (type: string, content: Buffer): Buffer => {
    const header = Buffer.alloc(8);
    header.write(type, 0, "latin1");
    header.writeUInt32LE(content.length, 4);
    return Buffer.concat([header, content, Buffer.alloc(content.length % 2)]);
  };
  const body = Buffer.concat([
    Buffer.from("WEBP", "latin1"),
    chunk("VP8L", Buffer.concat([bits.bytes(), Buffer.alloc(4)])),
    chunk("FAKE", Buffer.from(label, "latin1")),
  ]);
  const header = Buffer.alloc(8);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(body.length, 4);
  return Buffer.concat([header, body]);
}
