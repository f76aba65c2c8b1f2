import { PgBoss } from "pg-boss";
import { type Contender, peerConnections, spread } from "./contender.ts";

const queue = "bench";

/** pg-boss with its own schema and its defaults: send, fetch and complete, one job a call. */
export async function startPgBoss(url: string): Promise<Contender> {
  const boss = new PgBoss({ connectionString: url, max: peerConnections });
  boss.on("error", (error) => console.error("pg-boss:", error));
  await boss.start();
  await boss.createQueue(queue);
  return {
    name: "pg-boss",
    async run(tasks, concurrency, watch) {
      return await spread(tasks, concurrency, async () => {
        await watch.time("create", () => boss.send(queue, { prompt: "a fox" }));
        for (;;) {
          const [job] = await watch.time("claim", () => boss.fetch(queue));
          if (!job) continue;
          await watch.time("complete", () => boss.complete(queue, job.id));
          return;
        }
      });
    },
    close: () => boss.stop({ graceful: false }),
  };
}
