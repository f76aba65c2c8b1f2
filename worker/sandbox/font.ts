import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

export interface Font {
  family: string;
  file: string;
  has(codePoint: number): boolean;
  /** Width of a line of text at font size 1. Kerning is left out: it only makes lines a little shorter. */
  width(text: string): number;
}

const resolve = createRequire(import.meta.url).resolve;

/** For prompts: a book face. */
export const serif = openFont("DejaVu Serif", "DejaVuSerif.ttf");
/** For the footer, and for prompts in scripts that the serif face lacks (Hebrew, Arabic). */
export const sans = openFont("DejaVu Sans", "DejaVuSans.ttf");

export const fontFiles: string[] = [serif.file, sans.file];

function openFont(family: string, name: string): Font {
  const file = resolve(`dejavu-fonts-ttf/ttf/${name}`);
  const bytes = readFileSync(file);
  const glyphOf = readGlyphs(bytes, tableOffset(bytes, "cmap"));
  const unitsPerEm = bytes.readUInt16BE(tableOffset(bytes, "head") + 18);
  const longMetrics = bytes.readUInt16BE(tableOffset(bytes, "hhea") + 34);
  const metrics = tableOffset(bytes, "hmtx");

  function advance(codePoint: number): number {
    const glyph = Math.min(glyphOf.get(codePoint) ?? 0, longMetrics - 1);
    return bytes.readUInt16BE(metrics + glyph * 4) / unitsPerEm;
  }
  return {
    family,
    file,
    has: (codePoint) => glyphOf.has(codePoint),
    width(text) {
      let sum = 0;
      for (const character of text) sum += advance(character.codePointAt(0) ?? 0);
      return sum;
    },
  };
}

function tableOffset(bytes: Buffer, tag: string): number {
  const count = bytes.readUInt16BE(4);
  for (let index = 0; index < count; index += 1) {
    const record = 12 + index * 16;
    if (bytes.toString("latin1", record, record + 4) === tag) return bytes.readUInt32BE(record + 8);
  }
  throw new Error(`the font has no table ${tag}`);
}

/** Code point → glyph, from the font's full-range map (format 12), which DejaVu has. */
function readGlyphs(bytes: Buffer, cmap: number): Map<number, number> {
  const count = bytes.readUInt16BE(cmap + 2);
  for (let index = 0; index < count; index += 1) {
    const table = cmap + bytes.readUInt32BE(cmap + 4 + index * 8 + 4);
    if (bytes.readUInt16BE(table) !== 12) continue;
    const glyphs = new Map<number, number>();
    const groups = bytes.readUInt32BE(table + 12);
    for (let group = 0; group < groups; group += 1) {
      const at = table + 16 + group * 12;
      const first = bytes.readUInt32BE(at);
      const last = bytes.readUInt32BE(at + 4);
      const glyph = bytes.readUInt32BE(at + 8);
      for (let code = first; code <= last; code += 1) glyphs.set(code, glyph + code - first);
    }
    return glyphs;
  }
  throw new Error("the font has no character map of format 12");
}
