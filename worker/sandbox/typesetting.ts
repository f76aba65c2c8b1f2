import { type Font, sans, serif } from "./font.ts";

export interface TextBlock {
  lines: string[];
  font: Font;
  size: number;
  lineHeight: number;
  rightToLeft: boolean;
}

export interface TextFrame {
  width: number;
  height: number;
  largest: number;
  smallest: number;
}

const lineSpacing = 1.28;
/** Longer lines are hard to follow. */
const longestLineEms = 30;
/** Stands for what neither face can write. */
const missing = "\u25AF";
const ellipsis = "…";

/** The text in the largest size that fits the frame, in lines of even length; cut with an ellipsis if none fits. */
export function typeset(text: string, frame: TextFrame): TextBlock {
  const font = faceFor(text);
  const written = Array.from(text, (character) =>
    font.has(character.codePointAt(0) ?? 0) ? character : missing,
  ).join("");
  const rightToLeft = isRightToLeft(written);
  for (let size = frame.largest; ; size = Math.max(frame.smallest, size * 0.93)) {
    const lineHeight = size * lineSpacing;
    const room = Math.max(1, Math.floor(frame.height / lineHeight));
    const width = Math.min(frame.width / size, longestLineEms);
    const lines = wrap(written, font, width);
    const block = { font, size, lineHeight, rightToLeft };
    if (lines.length <= room) return { ...block, lines: balance(written, font, width, lines) };
    if (size <= frame.smallest) return { ...block, lines: cut(lines, room, font, width) };
  }
}

/** As much of the text as fits, in one line. */
export function fitLine(text: string, font: Font, width: number): string {
  if (font.width(text) <= width) return text;
  const [line] = wrap(text, font, Math.max(0, width - font.width(ellipsis)));
  return `${(line ?? "").trimEnd()}${ellipsis}`;
}

/** A line as it must be written into SVG: renderers take lines as left-to-right unless they are told. */
export function directed(line: string, rightToLeft: boolean): string {
  return rightToLeft ? `\u202B${line}\u202C` : line;
}

/** The face that lacks fewer of the characters. */
export function faceFor(text: string): Font {
  const lacking = (font: Font): number =>
    Array.from(text).filter((character) => !font.has(character.codePointAt(0) ?? 0)).length;
  return lacking(sans) < lacking(serif) ? sans : serif;
}

export function isRightToLeft(text: string): boolean {
  const [letter] = /\p{L}/u.exec(text) ?? [];
  return letter !== undefined && /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC]/u.test(letter);
}

function wrap(text: string, font: Font, width: number): string[] {
  const lines: string[] = [];
  const space = font.width(" ");
  let line = "";
  let used = 0;
  for (const word of text.split(" ").flatMap((whole) => breakWord(whole, font, width))) {
    const wordWidth = font.width(word);
    if (line !== "" && used + space + wordWidth > width) {
      lines.push(line);
      [line, used] = [word, wordWidth];
    } else {
      used += (line === "" ? 0 : space) + wordWidth;
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return line === "" ? lines : [...lines, line];
}

/** A word wider than a line, in pieces that are not; letters keep their accents. */
function breakWord(word: string, font: Font, width: number): string[] {
  if (font.width(word) <= width) return [word];
  const pieces: string[] = [];
  let piece = "";
  let used = 0;
  for (const { segment } of graphemes.segment(word)) {
    const segmentWidth = font.width(segment);
    if (piece !== "" && used + segmentWidth > width) {
      pieces.push(piece);
      [piece, used] = ["", 0];
    }
    piece += segment;
    used += segmentWidth;
  }
  return [...pieces, piece];
}
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** The same number of lines in the narrowest measure: no single word on the last one. */
function balance(text: string, font: Font, width: number, lines: string[]): string[] {
  let [narrow, wide] = [width / 2, width];
  let best = lines;
  for (let step = 0; step < 8; step += 1) {
    const middle = (narrow + wide) / 2;
    const attempt = wrap(text, font, middle);
    if (attempt.length <= lines.length) [wide, best] = [middle, attempt];
    else narrow = middle;
  }
  return best;
}

function cut(lines: string[], room: number, font: Font, width: number): string[] {
  const last = lines[room - 1] ?? "";
  const shortened = fitLine(`${last}${ellipsis}`, font, width).replace(/[\s.,;:…]*…$/u, ellipsis);
  return [...lines.slice(0, room - 1), shortened];
}
