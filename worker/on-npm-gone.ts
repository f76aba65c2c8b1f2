/**
 * Calls `stop` when the `npm run` that started this process is gone: npm passes a signal on to its shell only,
 * which dies of it and leaves us behind without a word. Started otherwise, it does nothing.
 */
export function onNpmGone(stop: () => void): void {
  if (!process.env["npm_lifecycle_event"]) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, 500);
  timer.unref();
}
