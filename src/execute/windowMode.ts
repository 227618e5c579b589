import { mapper } from '../storage/local/mmap.js'
import { defaultMode, type WindowMode } from '../storage/local/window.js'

/** How inputs are read: by system calls, or mapped if `TERGE_IO=map` and the platform supports it. */
export const windowMode = (): WindowMode => (defaultMode() === 'map' && mapper() ? 'map' : 'read')
