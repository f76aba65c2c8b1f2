declare module "fs-native-extensions" {
  /** False when another open file holds a lock on these bytes. The lock ends when the file is closed. */
  export function tryLock(fd: number, offset: number, length: number): boolean;
}
