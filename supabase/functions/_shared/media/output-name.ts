/** A worker's file name made safe to be part of a path: its last part, plain characters, at most 100. */
export function outputName(filename: string): string {
  const lastPart = filename.split(/[/\\]/).at(-1) ?? "";
  const plain = lastPart.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "_");
  const trimmed = plain.replace(/^[._]+/, "").replace(/\.{2,}/g, ".");
  return trimmed.slice(-100) || "output";
}
