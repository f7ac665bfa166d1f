# The locale LOCALE (as in en_US.UTF-8) as glibc wants it.
set -euo pipefail
name=${LOCALE%%.*}
modifier=''
case $LOCALE in *@*) modifier=@${LOCALE#*@} ;; esac
charset=${LOCALE#*.}
charset=${charset%@*}
[ "$charset" = "$LOCALE" ] && charset=ISO-8859-1
if [ ! -f "/usr/share/i18n/locales/$name$modifier" ]; then
    echo "error: glibc has no locale '$name$modifier'" >&2
    exit 1
fi
# glibc looks for the character set in lower case, without punctuation.
normal=$(printf '%s' "$charset" | tr 'A-Z' 'a-z' | tr -cd 'a-z0-9')
mkdir -p /out/usr/lib/locale
localedef --no-archive -i "$name$modifier" -f "$charset" "/out/usr/lib/locale/$name.$normal$modifier"
