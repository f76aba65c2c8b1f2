export interface StoredContent {
  size: number;
  eTag: string;
}

/** First and last byte, both included. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Keeps bytes under opaque ids. It knows no names, owners or rights: those are rows in storage.objects. */
export interface ObjectStore {
  /** Streams content to the end and keeps it; if the content fails on the way, nothing is kept. */
  put(bucket: string, version: string, content: AsyncIterable<Uint8Array>): Promise<StoredContent>;
  /** Undefined when there is no such content (any more). */
  read(bucket: string, version: string, range: ByteRange): Promise<ReadableStream<Uint8Array> | undefined>;
  /** Removing what is not there is no error. */
  remove(bucket: string, version: string): Promise<void>;
}

/** Buckets and versions come out of the database, where others can write: neither may lead out of the store. */
export function contentKey(bucket: string, version: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$/.test(bucket))
    throw new Error(`not a name for a folder: ${bucket}`);
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(version)) throw new Error("not a version id");
  return `${bucket}/${version.slice(0, 2)}/${version}`;
}
