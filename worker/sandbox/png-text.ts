import { crc32 } from "node:zlib";

/** Length of the signature and the header chunk, after which text may stand. */
const afterHeader = 8 + 25;

/** The PNG with international text chunks (iTXt) in it; keywords are Latin, at most 79 characters. */
export function withPngText(png: Buffer, texts: Record<string, string>): Buffer {
  const chunks = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  return Buffer.concat([png.subarray(0, afterHeader), ...chunks, png.subarray(afterHeader)]);
}

function textChunk(keyword: string, text: string): Buffer {
  // Keyword, end, not compressed (two bytes), no language, no translated keyword.
  const content = Buffer.concat([
    Buffer.from("iTXt", "latin1"),
    Buffer.from(keyword, "latin1"),
    Buffer.from([0, 0, 0, 0, 0]),
    Buffer.from(text, "utf8"),
  ]);
  const chunk = Buffer.alloc(content.length + 8);
  chunk.writeUInt32BE(content.length - 4, 0);
  content.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(content), content.length + 4);
  return chunk;
}
