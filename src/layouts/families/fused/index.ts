/** Networks that store query, key and value, or gate and up, in one tensor or apart. */
import type { Family } from '../../types.js'
import { bloom, chatglm1, dbrx, falcon, gptBigcode, gptNeoxQkv, mpt, persimmon } from './attention.js'
import { baichuan } from './baichuan.js'
import { codegen } from './codegen.js'
import { chatglm } from './glm.js'
import { internlm2 } from './internlm2.js'
import { gateUp, phi3 } from './phi3.js'
import { qwen } from './qwen.js'

export const FUSED: readonly Family[] = [
  baichuan,
  bloom,
  chatglm,
  chatglm1,
  codegen,
  dbrx,
  falcon,
  gateUp,
  gptBigcode,
  gptNeoxQkv,
  internlm2,
  mpt,
  persimmon,
  phi3,
  qwen,
]
