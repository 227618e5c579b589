/** All formats of adapter files. */
import { kohya } from './kohya/index.js'
import { peft } from './peft/index.js'
import type { AdapterFiles, AdapterFormat } from './types.js'

const FORMATS: readonly AdapterFormat[] = [kohya, peft]

/** The format of an adapter's files. Undefined if these are not the files of an adapter. */
export const formatOf = (files: AdapterFiles): AdapterFormat | undefined =>
  FORMATS.find((format) => format.detect(files))

/** Whether a tensor with this name belongs to an adapter's update, in any format. */
export const isUpdate = (stored: string): boolean => FORMATS.some((format) => format.isUpdate(stored))

/** The network's name for a tensor that an adapter saved whole. */
export const savedName = (stored: string): string => FORMATS.reduce((name, format) => format.nameOf(name), stored)
