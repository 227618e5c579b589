import { mapper } from '../checkpoints/mmap.js'
import { defaultMode, type WindowMode } from '../checkpoints/window.js'

/** How bytes get in: read, unless the environment asks for mapping and this platform can. */
export const windowMode = (): WindowMode => (defaultMode() === 'map' && mapper() ? 'map' : 'read')
