import { crc32, deflateSync } from "node:zlib";

/** A real picture of one colour, small enough for any test; other colours are other bytes. */
export function png({ width = 8, height = 8, colour = 0x33_66_99 } = {}): Uint8Array {
  const pixel = [colour >> 16, (colour >> 8) & 0xff, colour & 0xff];
  const line = [0, ...Array.from({ length: width }, () => pixel).flat()];
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.from(Array.from({ length: height }, () => line).flat()))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, content: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const named = Buffer.concat([Buffer.from(type, "latin1"), content]);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}
