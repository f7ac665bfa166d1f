# Packages of this tree, one directory each below package/.
include $(sort $(wildcard $(BR2_EXTERNAL_NEXISOS_PATH)/package/*/*.mk))
