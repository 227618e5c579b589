/** Rows of queries and keys, whose order depends on how an implementation turns them by their positions. */
import { numberIn, partOf } from '../facts.js'
import type { Count, Form, NamePattern } from '../types.js'

/** The two rows of each pair that is turned, under names that no file has. */
const both = (part: NamePattern): readonly Form[] => [`${part}.first`, `${part}.second`]

/** The rows of a pair follow one another: for rotation as complex numbers. */
export const pairs = (part: NamePattern): Form => ({ concat: both(part), axis: 0, groups: 'in turn' })

/** In each head, the first rows of all pairs come before the second ones: for transformers. */
export const halves = (part: NamePattern, heads: Count): Form => ({ concat: both(part), axis: 0, groups: heads })

/** The number of attention heads of the vision encoder. */
export const visionHeads: Count = ({ config }) =>
  numberIn(partOf(config, 'vision_config'), 'num_attention_heads', 'vt_num_attention_heads', 'heads')
