import { crc32, deflateSync } from "node:zlib";

const signatureBytes = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Length of the signature and the header chunk, after which text may stand. */
const afterHeader = 8 + 25;

/** A PNG of pixels that have three bytes each. */
export function pngOfColours(colours: Uint8Array, width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits a channel, colours without transparency.
  header.set([8, 2], 8);
  const rows = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y += 1) {
    rows.set(colours.subarray(y * width * 3, (y + 1) * width * 3), y * (width * 3 + 1) + 1);
  }
  return Buffer.concat([
    signatureBytes,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** The PNG with international text chunks (iTXt) in it; keywords are Latin, at most 79 characters. */
export function withPngText(png: Buffer, texts: Record<string, string>): Buffer {
  const chunks = Object.entries(texts).map(([keyword, text]) =>
    // Keyword, end, not compressed (two bytes), no language, no translated keyword.
    chunk(
      "iTXt",
      Buffer.concat([
        Buffer.from(keyword, "latin1"),
        Buffer.from([0, 0, 0, 0, 0]),
        Buffer.from(text, "utf8"),
      ]),
    ),
  );
  return Buffer.concat([png.subarray(0, afterHeader), ...chunks, png.subarray(afterHeader)]);
}

function chunk(type: string, content: Buffer): Buffer {
  const written = Buffer.alloc(content.length + 12);
  written.writeUInt32BE(content.length, 0);
  written.write(type, 4, "latin1");
  content.copy(written, 8);
  written.writeUInt32BE(crc32(written.subarray(4, 8 + content.length)), 8 + content.length);
  return written;
}
