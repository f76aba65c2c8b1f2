import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { type Contender, peerConnections, spread } from "./contender.ts";

const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error("graphile-worker:", message);
});

/**
 * graphile-worker: jobs are added one a call while its runner works on an empty task. Adders do not wait for
 * their jobs, which only helps it; claim and complete are the runner's own and cannot be timed apart.
 */
export async function startGraphileWorker(url: string): Promise<Contender> {
  const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: peerConnections, logger });
  await utils.migrate();
  return {
    name: "graphile-worker",
    async run(tasks, concurrency, watch) {
      const runner = await run({
        connectionString: url,
        concurrency,
        maxPoolSize: peerConnections,
        noHandleSignals: true,
        logger,
        taskList: { bench: () => undefined },
      });
      let completed = 0;
      const done = new Promise<void>((resolve, reject) => {
        runner.events.on("job:complete", () => {
          completed++;
          if (completed === tasks) resolve();
        });
        runner.events.on("job:error", ({ error }) => reject(error));
      });
      try {
        const begun = performance.now();
        await spread(tasks, concurrency, async () => {
          await watch.time("create", () => utils.addJob("bench", { prompt: "a fox" }));
        });
        await done;
        return (performance.now() - begun) / 1000;
      } finally {
        await runner.stop();
      }
    },
    close: async () => {
      await utils.release();
    },
  };
}
