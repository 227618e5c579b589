import { mapper } from '../storage/local/mmap.js'
import { defaultMode, type WindowMode } from '../storage/local/window.js'

/** How bytes get in: read, unless the environment asks for mapping and this platform can. */
export const windowMode = (): WindowMode => (defaultMode() === 'map' && mapper() ? 'map' : 'read')
