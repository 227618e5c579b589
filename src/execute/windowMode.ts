import { mapper } from '../checkpoints/mmap.js'
import { defaultMode, type WindowMode } from '../checkpoints/window.js'

/** How bytes get in: mapped where this platform can, unless the environment says otherwise. */
export const windowMode = (): WindowMode => (defaultMode() === 'map' && mapper() ? 'map' : 'read')
