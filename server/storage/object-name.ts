import { StorageError } from "./errors.ts";

const longestNameBytes = 1024;
/** No text (lone surrogates), cannot be seen, or changes the order in which a name is read: one name would pass for another. */
const deceptive = /[\p{Cc}\p{Cs}\u200B-\u200F\u202A-\u202E\u2060-\u2069\uFEFF\u{FFFE}\u{FFFF}\\]/u;

/**
 * A name is looked up exactly as it is written, so only one spelling of it is taken: composed (NFC), and with
 * no segment that a file system or a URL would read as something else. Content is never stored under it.
 */
export function objectName(name: string): string {
  const refused =
    Buffer.byteLength(name) > longestNameBytes ||
    deceptive.test(name) ||
    name.normalize("NFC") !== name ||
    name.split("/").some(isHostileSegment);
  if (refused) throw new StorageError("InvalidKey");
  return name;
}

function isHostileSegment(segment: string): boolean {
  // Look-alikes of dots and slashes count as what they look like (U+FF0E, U+2024, U+FF0F …).
  const plain = segment.normalize("NFKC").trim();
  return plain === "" || /^\.+$/.test(plain) || /[/\\]/.test(plain);
}
