/**
 * What `AI_PROMPT_LOCAL=1` gives where there is no provider: texts made by rules, so that every screen can be tried
 * offline. Nobody should take them for a model's; answers say `local: true`.
 */
export const localModel = "local-rules";

const views = [
  "wide view",
  "close-up",
  "seen from above",
  "seen from below",
  "in profile",
  "from behind",
  "at eye level",
];
const lights = [
  "morning light",
  "overcast light",
  "golden hour",
  "night with lamps",
  "backlight",
  "soft window light",
];
const moods = ["calm", "lively", "solemn", "playful", "mysterious"];

/** So many different prompts of a request: each with another view, light and mood; none that exists. */
export function localPrompts(request: string, rules: string, count: number, existing: string[]): string[] {
  const subject = request.trim() || "a still life";
  const known = new Set(existing);
  const prompts: string[] = [];
  for (let turn = 0; prompts.length < count && turn < views.length * lights.length * moods.length; turn++) {
    const parts = [views[turn % views.length], lights[turn % lights.length], moods[turn % moods.length]];
    const prompt = [subject, ...parts, rules.trim()].filter(Boolean).join(", ");
    if (!known.has(prompt)) prompts.push(prompt);
  }
  return prompts;
}

export function localEdit(prompt: string, change: string): string {
  return `${prompt.trim().replace(/[.,;\s]+$/, "")}, ${change.trim()}`;
}

/** The first ten words. */
export function localSummary(prompt: string): string {
  return prompt.trim().split(/\s+/).slice(0, 10).join(" ");
}

export function localMotion(prompt: string): string {
  const idea = prompt.trim().replace(/[.\s]+$/, "");
  return `${idea}, while the camera moves slowly forward. Everything around it drifts gently past. Light and air shift a little.`;
}

/** The prompt with more added details the higher the level is. */
export function localEnhancement(prompt: string, level: number): string {
  const idea = prompt.trim().replace(/[.,;\s]+$/, "");
  const details = ["fine detail", lights[2], views[0], moods[4], "an unexpected setting"];
  return [idea, ...details.slice(0, 1 + Math.min(4, Math.floor(level / 0.3)))].join(", ");
}
