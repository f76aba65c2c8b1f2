/**
 * A personal access token: `dr_pat_` + 30 base62 characters (178 bits) + 6 of checksum.
 * The checksum lets a mistyped or invented token be refused without asking the database.
 */
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const prefix = "dr_pat_";
const secretLength = 30;
const pattern = /^dr_pat_[0-9A-Za-z]{36}$/;

/** A new token from the platform's secure random numbers; every character is equally likely. */
export function newToken(): string {
  let secret = "";
  while (secret.length < secretLength) {
    for (const byte of crypto.getRandomValues(new Uint8Array(64))) {
      // 248 = 4 × 62: bytes above it would favour the first characters.
      if (byte < 248 && secret.length < secretLength) secret += alphabet[byte % 62];
    }
  }
  return prefix + secret + checksum(secret);
}

export function looksLikeToken(text: string): boolean {
  return text.startsWith(prefix);
}

export function isWellFormedToken(text: string): boolean {
  if (!pattern.test(text)) return false;
  const secret = text.slice(prefix.length, prefix.length + secretLength);
  return text.slice(prefix.length + secretLength) === checksum(secret);
}

/** The only form in which a token is stored. */
export async function hashToken(token: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token)));
}

/** CRC-32 (IEEE) in six base62 digits. */
function checksum(secret: string): string {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(secret)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  let rest = (crc ^ 0xffffffff) >>> 0;
  let digits = "";
  for (let position = 0; position < 6; position++) {
    digits = alphabet.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}
