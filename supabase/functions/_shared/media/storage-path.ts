/**
 * The name of an object, from the part of its public URL that follows the bucket: workers cut it from a task's
 * output as they find it, percent signs and query included.
 */
export function storagePath(fromUrl: string): string {
  const [path = ""] = fromUrl.split(/[?#]/, 1);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // Percent signs that encode nothing: the name itself, if there is such an object.
  }
}
