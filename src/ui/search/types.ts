import type { SearchListener } from '../../index.js'
import type { Renderer } from '../progress/types.js'

/** Shows a search to people. It only listens. */
export interface SearchRenderer extends Pick<Renderer, 'stopping' | 'finish'> {
  readonly listen: SearchListener
}
