import type { Logger } from "pino";
import type { LanguageModel } from "../../supabase/functions/_shared/prompts/language-model.ts";

export interface ModelWatch {
  stop(): Promise<void>;
}

/** Asks the provider of prompts at the start and every hour which models it serves: a dead one is in the log and in `/ready`. */
export function watchModels(
  models: Pick<LanguageModel, "isConfigured" | "checkModels">,
  log: Logger,
  everyMilliseconds = 3_600_000,
): ModelWatch {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;

  async function check(): Promise<void> {
    try {
      await models.checkModels(stopping.signal);
    } catch (error) {
      if (!stopping.signal.aborted) log.warn({ err: error }, "the models of prompts could not be checked");
    }
  }
  const look = () => {
    running ??= check().finally(() => (running = undefined));
  };
  const timer = setInterval(look, everyMilliseconds);
  timer.unref();
  if (models.isConfigured) look();
  else clearInterval(timer);
  return {
    async stop() {
      stopping.abort();
      clearInterval(timer);
      await running;
    },
  };
}
