/** The endpoints of FAL that films are made with. A test holds each against the types of the official client. */
export const endpoints = {
  /** A film from one image, or from a first and a last one; of any length, with LoRAs. */
  imageToVideo: "fal-ai/wan/v2.2-a14b/image-to-video/lora",
  /** The same model at a price per film: always 81 frames, 16 a second, without LoRAs. */
  turbo: "fal-ai/wan/v2.2-a14b/image-to-video/turbo",
  /** Frames between two images. */
  interpolateImages: "fal-ai/rife",
  /** Frames between the frames of a film. */
  interpolateFilm: "fal-ai/film/video",
  upscaleFilm: "fal-ai/flashvsr/upscale/video",
  pose: "fal-ai/dwpose",
  /** The first, the middle or the last frame of a film. */
  extractFrame: "fal-ai/ffmpeg-api/extract-frame",
  mergeFilms: "fal-ai/ffmpeg-api/merge-videos",
  trimFilm: "fal-ai/workflow-utilities/trim-video",
  scaleFilm: "fal-ai/workflow-utilities/scale-video",
} as const;
