/** Structured lines; an error is the field `err`. Never pass tokens, keys, prompts or bodies. */
export interface Log {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

/** JSON lines on the console: what the logs of Edge Functions collect. */
export const consoleLog: Log = {
  info: (fields, message) => console.log(line("info", fields, message)),
  warn: (fields, message) => console.warn(line("warn", fields, message)),
  error: (fields, message) => console.error(line("error", fields, message)),
};

function line(level: string, fields: Record<string, unknown>, message: string): string {
  return JSON.stringify(
    { level, time: new Date().toISOString(), message, ...fields },
    (_key, value: unknown) =>
      value instanceof Error
        ? { name: value.name, message: value.message, stack: value.stack, cause: value.cause }
        : value,
  );
}
