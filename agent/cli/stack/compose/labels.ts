/** The labels that Docker marks stacks with (docker/cli compose/convert). */
export const namespaceLabel = 'com.docker.stack.namespace'
/** The image as the file names it. */
export const imageLabel = 'com.docker.stack.image'
