/** What the operators of ONNX (opsets 7 to 22) do to the axes of their inputs. */

import type { Operator } from '../value.js'
import { CONVOLUTIONS } from './convolution.js'
import { ELEMENTWISE } from './elementwise.js'
import { PRODUCTS } from './products.js'
import { RECURRENT } from './recurrent.js'
import { flatten, reshape } from './reshape.js'
import { SELECTION } from './selection.js'
import { SHAPES } from './shapes.js'

export const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ...ELEMENTWISE,
  ...CONVOLUTIONS,
  ...PRODUCTS,
  ...SELECTION,
  ...RECURRENT,
  ...SHAPES,
  ['Flatten', flatten],
  ['Reshape', reshape],
])
