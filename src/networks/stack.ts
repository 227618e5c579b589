/** Which of two ends of a stack of layers a tensor outside layers belongs to. */

/**
 * Words for what stands before the first layer: embeddings of tokens, positions and patches, and their norms. All else
 * outside layers (final norm, head, pooler) stands after the last one.
 */
const BEFORE =
  /(^|\.)shared\.weight$|(^|[._])(\w*embed(s|ding|dings|der)?|embed_in|wte|wpe|[ct]ls_token|mask_token|stem|patch\w*|project_in|ln_pre|pre_layer_?norm)([._]|$)/i
const AFTER = /(^|[._])(embed_out|lm_head|unembed\w*|output_embeddings)([._]|$)/i

/** By its name; nothing else in a checkpoint says it. */
export const standsBeforeLayers = (name: string): boolean => BEFORE.test(name) && !AFTER.test(name)
