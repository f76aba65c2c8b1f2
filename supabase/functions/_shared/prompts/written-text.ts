/**
 * What a model wrote, as text that may be shown and kept anywhere: without control characters, direction marks and
 * characters that are none, and of a length that fields take.
 */

const invisible =
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;
const halfCharacters = /[\ud800-\udfff]/gu;

/** Line breaks and tabs stay. */
export function plainText(written: string): string {
  return written.replace(invisible, "").replace(halfCharacters, "\ufffd");
}

/** The same, without blanks around it, cut to so many characters. */
export function plainField(written: string, longest: number): string {
  return cut(plainText(written).trim(), longest);
}

/** The same in one line. */
export function plainLine(written: string, longest: number): string {
  return cut(plainText(written).replace(/\s+/g, " ").trim(), longest);
}

/** Never through the middle of a character. */
function cut(text: string, longest: number): string {
  if (text.length <= longest) return text;
  return text
    .slice(0, longest)
    .replace(/[\ud800-\udbff]$/, "")
    .trimEnd();
}
