const movieBrands = /^(isom|iso[2-9]|mp4[12]|avc1|M4V |M4VH|M4VP|dash|MSNV|3gp\w|3g2\w|mmp4|f4v )$/;

/** The media type that the first 64 bytes prove; names and declarations prove nothing. */
export function signatureType(head: Uint8Array): string | undefined {
  const ascii = (start: number, end: number) => String.fromCharCode(...head.subarray(start, end));
  if (ascii(0, 8) === "\x89PNG\r\n\x1a\n") return "image/png";
  if (ascii(0, 3) === "\xff\xd8\xff") return "image/jpeg";
  if (/^GIF8[79]a$/.test(ascii(0, 6))) return "image/gif";
  if (ascii(0, 4) === "RIFF" && ascii(8, 12) === "WEBP") return "image/webp";
  if (ascii(0, 4) === "\x1a\x45\xdf\xa3" && ascii(0, 64).includes("\x42\x82\x84webm")) return "video/webm";
  if (ascii(4, 8) === "ftyp") {
    const brand = ascii(8, 12);
    if (brand === "avif" || brand === "avis") return "image/avif";
    if (brand === "qt  ") return "video/quicktime";
    return movieBrands.test(brand) ? "video/mp4" : undefined;
  }
  // QuickTime wrote no `ftyp` before 2001, and some cameras still do not.
  if (/^(moov|mdat|wide)$/.test(ascii(4, 8)) && (head[0] || head[1] || head[2] || (head[3] ?? 0) >= 8)) {
    return "video/quicktime";
  }
  return undefined;
}

/** The type under which an output is stored; what proves to be no medium is bytes and no more. */
export function contentTypeOf(bytes: Uint8Array): string {
  return signatureType(bytes.subarray(0, 64)) ?? "application/octet-stream";
}
